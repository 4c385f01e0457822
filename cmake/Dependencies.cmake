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

# CUDA is detected (nvcc) and otherwise left out. cuDNN and NCCL lie beside the toolkit or in the system's folders.
set(SPN_CUDA "AUTO" CACHE STRING "The CUDA backend: AUTO (where nvcc is found), ON or OFF")
set(SPN_HAVE_CUDA OFF)
if(SPN_CUDA)  # AUTO is true
  include(CheckLanguage)
  check_language(CUDA)
  find_package(CUDAToolkit 12.4 QUIET)
  find_path(CUDNN_INCLUDE_DIR cudnn.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
  find_library(CUDNN_LIBRARY cudnn HINTS ${CUDAToolkit_LIBRARY_DIR})
  find_path(NCCL_INCLUDE_DIR nccl.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
  find_library(NCCL_LIBRARY nccl HINTS ${CUDAToolkit_LIBRARY_DIR})
  if(CMAKE_CUDA_COMPILER AND CUDAToolkit_FOUND AND CUDNN_LIBRARY AND CUDNN_INCLUDE_DIR AND NCCL_LIBRARY AND NCCL_INCLUDE_DIR)
    set(SPN_HAVE_CUDA ON)
  elseif(SPN_CUDA STREQUAL "ON")
    message(FATAL_ERROR "SPN_CUDA=ON, and not found: one of nvcc (${CMAKE_CUDA_COMPILER}), the toolkit >= 12.4 "
                        "(${CUDAToolkit_VERSION}), cuDNN (${CUDNN_LIBRARY}), NCCL (${NCCL_LIBRARY})")
  endif()
endif()
if(SPN_HAVE_CUDA)
  if(NOT CMAKE_CUDA_ARCHITECTURES AND SPN_CPU_ARCH STREQUAL "native")
    execute_process(COMMAND nvidia-smi -L RESULT_VARIABLE no_gpu OUTPUT_QUIET ERROR_QUIET)
    if(no_gpu EQUAL 0)
      set(CMAKE_CUDA_ARCHITECTURES native)  # a third of the compilation; what is for other CPUs too is for other GPUs
    endif()
  endif()
  if(NOT CMAKE_CUDA_ARCHITECTURES)
    set(CMAKE_CUDA_ARCHITECTURES 80-real 90a-real)  # A100, H100 and H200
    if(CUDAToolkit_VERSION VERSION_GREATER_EQUAL 12.8)
      list(APPEND CMAKE_CUDA_ARCHITECTURES 100)     # B200, and code that later ones translate
    endif()
  endif()
  if(SPN_CCACHE AND NOT CMAKE_CUDA_COMPILER_LAUNCHER)
    set(CMAKE_CUDA_COMPILER_LAUNCHER ${SPN_CCACHE})
  endif()
  set(CMAKE_CUDA_RUNTIME_LIBRARY Shared)  # a file that the bundle need not hold
  enable_language(CUDA)
  if(CMAKE_CUDA_ARCHITECTURES STREQUAL "native" AND CMAKE_CUDA_ARCHITECTURES_NATIVE)
    set(CMAKE_CUDA_ARCHITECTURES ${CMAKE_CUDA_ARCHITECTURES_NATIVE})  # by number, which the program looks at
  endif()
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 does not know that nvcc has it since 12.0
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
  endif()
endif()
