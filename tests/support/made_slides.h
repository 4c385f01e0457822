// A small STimage-1K4M folder with known counts and pictures, one slide a technology and image format.
#pragma once

#include <string>

namespace spn::test {

// Slides "P_ST" (PNG, 6 x 5 spots 40 px apart, 5 µm/px), "J_ST" (JPEG named .png, 4 x 4), "T_ST" (planar TIFF named
// .png, 3 x 3): genes G0…G11 and one more that only this slide has. P_ST: one spot empty, one without coordinates, one
// without counts; J_ST: one spot outside the image, some labels; windows at the rims leave the images.
void make_slides(const std::string& folder);

}  // namespace spn::test
