# One static library a top-level folder, in the order of docs/map.md's arrows; every .cpp below a folder is compiled,
# but for those that the expression after it names.
function(spn_library name folder)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/${folder}/*.cpp")
  if(ARGN)
    list(FILTER sources EXCLUDE REGEX "${ARGN}")
  endif()
  add_library(${name} STATIC ${sources})
  target_link_libraries(${name} PUBLIC spn_flags)
endfunction()

spn_library(spn_core engine/core)
target_link_libraries(spn_core PUBLIC fmt::fmt nlohmann_json::nlohmann_json PRIVATE spdlog::spdlog OpenSSL::Crypto)

spn_library(spn_kernels kernels "kernels/cuda/")
target_link_libraries(spn_kernels PUBLIC spn_core PRIVATE DNNL::dnnl OpenMP::OpenMP_CXX)
target_compile_options(spn_kernels PRIVATE -march=${SPN_CPU_ARCH} $<$<CONFIG:Release>:-O3> -fopenmp-simd
                       # neither errno nor traps are read: results stay the same, sqrt and selects vectorise
                       -fno-math-errno -fno-trapping-math)

if(SPN_HAVE_CUDA)
  file(GLOB cuda_kernels CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/kernels/cuda/*.cu" "${CMAKE_SOURCE_DIR}/kernels/ladder/*.cu")
  file(GLOB_RECURSE cuda_hosts CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/kernels/cuda/*.cpp")
  get_target_property(kernel_sources spn_kernels SOURCES)
  list(FILTER kernel_sources EXCLUDE REGEX "no_cuda.cpp$")
  set_target_properties(spn_kernels PROPERTIES SOURCES "${kernel_sources}")
  add_library(spn_cuda OBJECT ${cuda_kernels} ${cuda_hosts})
  target_include_directories(spn_cuda PUBLIC ${CMAKE_SOURCE_DIR})
  target_include_directories(spn_cuda SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS} ${CUDNN_INCLUDE_DIR})
  target_link_libraries(spn_cuda PRIVATE fmt::fmt)
  # fmt checks its format strings while compiling, in ways that nvcc does not follow
  target_compile_options(spn_cuda PRIVATE
    $<$<COMPILE_LANGUAGE:CUDA>:-DFMT_CONSTEVAL= -DFMT_USE_CONSTEXPR=1 --expt-relaxed-constexpr -lineinfo -Werror=all-warnings
                               -Xcompiler=-Wall,-Wextra,-Wno-psabi,-Wno-missing-field-initializers>
    $<$<COMPILE_LANGUAGE:CXX>:-Wall -Wextra -Wpedantic -Wshadow -Werror -Wno-missing-field-initializers>)
  if(CUDAToolkit_VERSION VERSION_GREATER_EQUAL 13)  # a tenth of the size, in each of fifty programs; drivers know it
    target_compile_options(spn_cuda PRIVATE $<$<COMPILE_LANGUAGE:CUDA>:--compress-mode=size>)
  endif()
  string(REPLACE ";" ", " architectures "${CMAKE_CUDA_ARCHITECTURES}")
  set_source_files_properties(kernels/cuda/runtime.cpp kernels/cuda/devices.cpp PROPERTIES
                              COMPILE_DEFINITIONS "SPN_CUDA_ARCHITECTURES=\"${architectures}\"")
  target_sources(spn_kernels PRIVATE $<TARGET_OBJECTS:spn_cuda>)
  target_link_libraries(spn_kernels PRIVATE CUDA::cudart CUDA::cublasLt ${CUDNN_LIBRARY})
endif()

# The contrastive tiles are long runs of exp: 512-bit vectors, where the CPU has them, are about 10 % of the whole loss.
include(CheckCXXCompilerFlag)
check_cxx_compiler_flag(-mprefer-vector-width=512 SPN_HAVE_VECTOR_WIDTH)
if(SPN_HAVE_VECTOR_WIDTH)
  set_source_files_properties(kernels/cpu/contrastive_fwd.cpp kernels/cpu/contrastive_bwd.cpp
                              PROPERTIES COMPILE_OPTIONS -mprefer-vector-width=512)
endif()

if(SPN_HAVE_CUDA)
  spn_library(spn_dist engine/dist "/no_nccl.cpp$")
  target_include_directories(spn_dist SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS} ${NCCL_INCLUDE_DIR})
  target_link_libraries(spn_dist PRIVATE CUDA::cudart ${NCCL_LIBRARY})
else()
  spn_library(spn_dist engine/dist "/nccl.cpp$")
endif()
target_link_libraries(spn_dist PUBLIC spn_core PRIVATE MPI::MPI_C Threads::Threads)

# Arithmetic is in spn_kernels, and loops over pixels and genes in spn_data: what only calls them is compiled in two
# thirds of the time with fewer optimisations (a step of the tiny model takes as long).
spn_library(spn_engine engine "/(core|dist)/")
target_compile_options(spn_engine PRIVATE $<$<CONFIG:Release>:-O1>)
set_source_files_properties(engine/nn/init.cpp engine/models/resample.cpp engine/ckpt/safetensors.cpp
                            engine/eval/retrieval.cpp  # loops over values of their own
                            PROPERTIES COMPILE_OPTIONS $<$<CONFIG:Release>:-O3> SKIP_PRECOMPILE_HEADERS ON)
target_link_libraries(spn_engine PUBLIC spn_kernels spn_dist PRIVATE OpenMP::OpenMP_CXX)

spn_library(spn_data data)
target_include_directories(spn_data SYSTEM PRIVATE ${HDF5_C_INCLUDE_DIRS} ${CSV_INCLUDE_DIR})
target_link_libraries(spn_data PUBLIC spn_dist PRIVATE ${HDF5_C_LIBRARIES} MPI::MPI_C ${CSV_LIBRARY} JPEG::JPEG
                      PNG::PNG TIFF::TIFF Threads::Threads OpenMP::OpenMP_CXX)

configure_file(${CMAKE_SOURCE_DIR}/cmake/version.h.in ${CMAKE_BINARY_DIR}/generated/spotniche_version.h)
spn_library(spn_cli launch "launch/cli/main.cpp")
target_compile_options(spn_cli PRIVATE $<$<CONFIG:Release>:-O1>)
target_include_directories(spn_cli PUBLIC ${CMAKE_BINARY_DIR}/generated)
target_include_directories(spn_cli SYSTEM PRIVATE ${HDF5_C_INCLUDE_DIRS})
target_link_libraries(spn_cli PUBLIC spn_engine spn_data PRIVATE Boost::program_options
                      MPI::MPI_C DNNL::dnnl OpenMP::OpenMP_CXX Threads::Threads)

if(NOT SPN_SANITIZE)  # there each source is compiled with what it includes itself
  foreach(library spn_engine spn_data spn_cli)
    spn_precompile(${library} PRIVATE ${CMAKE_SOURCE_DIR}/cmake/pch.h)
  endforeach()
endif()

add_executable(spotniche launch/cli/main.cpp)
target_link_libraries(spotniche PRIVATE spn_cli)
install(TARGETS spotniche RUNTIME DESTINATION bin)
