# Every dependency, and the Debian / Ubuntu package that brings it. Names are the same on Debian 12 and Ubuntu 24.04.
find_package(MPI REQUIRED COMPONENTS C)                       # libopenmpi-dev openmpi-bin
add_compile_definitions(OMPI_SKIP_MPICXX MPICH_SKIP_MPICXX)  # the C interface alone
set(HDF5_PREFER_PARALLEL ON)
find_package(HDF5 REQUIRED COMPONENTS C)                      # libhdf5-openmpi-dev
if(NOT HDF5_IS_PARALLEL)
  message(FATAL_ERROR "HDF5 at ${HDF5_C_LIBRARIES} is not parallel; install libhdf5-openmpi-dev")
endif()
find_package(Boost 1.74 REQUIRED COMPONENTS program_options)  # libboost-program-options-dev
find_package(dnnl REQUIRED CONFIG)                            # libdnnl-dev ocl-icd-opencl-dev
find_package(OpenMP REQUIRED COMPONENTS CXX)                  # g++
find_package(fmt REQUIRED)                                    # libfmt-dev
find_package(spdlog REQUIRED)                                 # libspdlog-dev
find_package(nlohmann_json REQUIRED)                          # nlohmann-json3-dev
find_package(JPEG REQUIRED)                                   # libjpeg-dev
find_package(PNG REQUIRED)                                    # libpng-dev
find_package(TIFF REQUIRED)                                   # libtiff-dev
find_package(OpenSSL REQUIRED COMPONENTS Crypto)              # libssl-dev
find_package(Threads REQUIRED)
find_path(CSV_INCLUDE_DIR csv.h REQUIRED)                     # libcsv-dev
find_library(CSV_LIBRARY csv REQUIRED)
if(SPN_TESTS)
  find_package(GTest REQUIRED)                                # libgtest-dev
endif()

# CUDA is detected; a build without it is first-class. No source is compiled with nvcc yet: the backend is to come.
include(CheckLanguage)
check_language(CUDA)
