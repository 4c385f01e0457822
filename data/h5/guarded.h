// An HDF5 file driver for files that we write. HDF5 1.10 cannot close a file whose last writes fail (a full disk): it
// keeps the objects and crashes when the library ends. This driver remembers the first failed write and from then on
// lets HDF5 believe in success; File throws at the next opportunity, and the file is thrown away.
#pragma once

#include <hdf5.h>

#include <memory>

#include "data/h5/h5.h"
#include "data/h5/pages.h"

namespace spn::data::h5 {

struct WriteFault : std::enable_shared_from_this<WriteFault> {
  int error = 0;                  // errno of the first failed write, 0: none
  std::unique_ptr<Pages> staged;  // set: writes stay here, and reads see them
};

// Makes files opened with this access list use the driver and report to `fault`.
void set_guarded_driver(Id access_list, const std::shared_ptr<WriteFault>& fault);

}  // namespace spn::data::h5
