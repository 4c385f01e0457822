// STimage-1K4M as its authors publish it: {ST,Visium,VisiumHD}/{image,coord,gene_exp}/, meta/, annotation/.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "data/readers/reader.h"

namespace spn::data {

class Stimage1k4m final : public SlideReader {
 public:
  // Data error when folder has none of the technology folders.
  explicit Stimage1k4m(std::string folder, double pitch_um = 0);
  std::vector<SlideInfo> list() override;
  void require_files(const SlideInfo& slide) override;
  Slide read(const SlideInfo& slide) override;

 private:
  struct Files {
    std::string counts, coordinates, image, annotation;  // annotation: empty when there is none
  };
  struct Meta {
    std::string species, tissue, tech, pmid;
  };
  void find_slides();
  void read_meta();
  double pitch_of(const std::string& name, Tech tech) const;
  const Files& files(const std::string& slide) const;

  std::string folder_;
  double pitch_um_;
  std::map<std::string, Files> files_;
  std::map<std::string, std::string> tech_folder_;  // slide → ST, Visium or VisiumHD
  std::map<std::string, Meta> meta_;
};

}  // namespace spn::data
