# One executable a folder of tests/ that holds *_test.cpp. Label: unit, unless the folder says otherwise:
#   tests/dist/    run under MPI at 1, 2 and 4 ranks (label dist)
#   tests/dist/nccl/  over memory of GPUs, 2 ranks (gpu), where this build has the backend
#   tests/dist/cuda/  over memory of the emulated device, 2 and 4 ranks (dist)
#   tests/cli/     runs build/spotniche (label cli)
#   tests/cuda/    emulated on the host (unit) and on a GPU (gpu)
#   tests/data/    label data (also unit: small made-up inputs)
# A test binary's own files come from SPN_SOURCE_DIR; where real slides lie, from SPN_REAL_SLIDES (environment).
include(GoogleTest)
file(GLOB_RECURSE test_sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/tests/*_test.cpp")
file(GLOB support_sources CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/tests/support/*.cpp")

add_library(spn_test_support STATIC ${support_sources})
target_link_libraries(spn_test_support PUBLIC spn_engine spn_data GTest::gtest Threads::Threads)
set_source_files_properties(tests/support/paths.cpp PROPERTIES SKIP_PRECOMPILE_HEADERS ON COMPILE_DEFINITIONS
  "SPN_SOURCE_PATH=\"${CMAKE_SOURCE_DIR}\";SPN_BINARY_PATH=\"${CMAKE_BINARY_DIR}\"")

# Tests take as long to compile as everything else: their common headers are parsed once, and what they compute is not
# worth more than -O1.
function(spn_test_flags target)
  target_compile_options(${target} PRIVATE $<$<CONFIG:Release>:-O1>)
  if(target STREQUAL spn_test_support)
    spn_precompile(${target} PRIVATE ${CMAKE_SOURCE_DIR}/tests/support/pch.h)
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)  # compiled as the programs are
    target_compile_options(${target} PRIVATE -fPIE)
  else()
    spn_precompile(${target} REUSE_FROM spn_test_support)
  endif()
endfunction()
spn_test_flags(spn_test_support)

set(folders "")
foreach(source ${test_sources})
  get_filename_component(folder ${source} DIRECTORY)
  list(APPEND folders ${folder})
endforeach()
list(REMOVE_DUPLICATES folders)

set(mpi_env "OMPI_ALLOW_RUN_AS_ROOT=1" "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1" "OMPI_MCA_rmaps_base_oversubscribe=1"
    "OMPI_MCA_hwloc_base_binding_policy=none" "OMPI_MCA_mpi_yield_when_idle=1" "OMP_NUM_THREADS=1")
# Memory that Open MPI's plugins keep until the exit of a rank that mpirun started is not ours to report.
set(ranks_env ${mpi_env} "LSAN_OPTIONS=exitcode=0")
# tests/cuda holds CUDA kernels against their CPU twins: everywhere on the host (unit), and on a GPU where this build has
# the backend (gpu).
list(REMOVE_ITEM folders ${CMAKE_SOURCE_DIR}/tests/cuda ${CMAKE_SOURCE_DIR}/tests/dist/cuda)
file(GLOB cuda_tests CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/tests/cuda/*_test.cpp")
if(NOT SPN_SANITIZE)  # the emulator switches stacks, which AddressSanitizer cannot follow; it has guard pages of its own
  add_subdirectory(tests/support/ptx)
  add_subdirectory(tests/support/emulator)
  add_executable(test_cuda_emulated ${cuda_tests})
  target_link_libraries(test_cuda_emulated PRIVATE spn_cuda_emulated spn_cli spn_test_support)
  target_include_directories(test_cuda_emulated PRIVATE tests/support/emulator)
  spn_test_flags(test_cuda_emulated)
  target_link_options(test_cuda_emulated PRIVATE -rdynamic)  # kernels are found in PTX by their names
  add_test(NAME cuda_emulated COMMAND test_cuda_emulated --gtest_filter=-FromNvcc*)  # those need PTX
  set_tests_properties(cuda_emulated PROPERTIES LABELS unit TIMEOUT 1800)
  if(SPN_PTX_FILES)  # what nvcc made of them, interpreted
    set(of_kernels "CudaAttention.*:CudaBatchNorm.*:CudaContrastive.*:CudaElementwise.*:CudaImage.*:CudaLayerNorm.*:CudaTiming.*:From*-CudaAttention.TiledSequences")
    string(APPEND of_kernels ":CudaAttention.LongSequencesAreProducts:CudaContrastive.ManyPanelsAreOne")
    if(SPN_PTX_KERNELS STREQUAL "ALL")
      set(of_kernels "Cuda*:From*-CudaCommands.*:CudaBench.*")
    endif()
    add_test(NAME cuda_ptx COMMAND test_cuda_emulated --gtest_filter=${of_kernels})
    set_tests_properties(cuda_ptx PROPERTIES LABELS unit TIMEOUT 1800
                         ENVIRONMENT "SPN_PTX=${SPN_PTX_FILES};SPN_REQUIRE_PTX=1;OMP_NUM_THREADS=1")
  endif()
  # several ranks, each with an emulated device; what is promised of NCCL is promised of what stands for it
  file(GLOB dist_cuda_tests CONFIGURE_DEPENDS "${CMAKE_SOURCE_DIR}/tests/dist/cuda/*_test.cpp")
  add_executable(test_dist_cuda ${dist_cuda_tests} tests/dist/nccl/device_comm_test.cpp)
  target_link_libraries(test_dist_cuda PRIVATE spn_cuda_emulated spn_cli spn_test_support)
  spn_test_flags(test_dist_cuda)
  set(left_out "*ARankThatNeverComes*")  # nobody watches the emulator's
  foreach(ranks 2 4)
    if(ranks EQUAL 4)
      string(APPEND left_out ":*RunsAreThoseOfOneRank*:*RanksStepAsOneRankDoes*")  # the long ones: others sum over four
    endif()
    add_test(NAME dist_cuda_${ranks} COMMAND ${MPIEXEC_EXECUTABLE} -np ${ranks} $<TARGET_FILE:test_dist_cuda>
                                             --gtest_filter=-${left_out})
    set_tests_properties(dist_cuda_${ranks} PROPERTIES LABELS dist TIMEOUT 300 PROCESSORS 2
                         ENVIRONMENT "${ranks_env};SPN_REQUIRE_RANKS=${ranks}")
  endforeach()
endif()
if(SPN_HAVE_CUDA)
  list(FILTER cuda_tests EXCLUDE REGEX "/(emulator|ptx)_[a-z_]*\\.cpp$")  # of the emulator itself
  add_executable(test_cuda ${cuda_tests} tests/cuda/on_gpu.cpp)
  target_link_libraries(test_cuda PRIVATE spn_cli spn_test_support)
  spn_test_flags(test_cuda)
  add_test(NAME cuda COMMAND test_cuda)
  set_tests_properties(cuda PROPERTIES LABELS gpu TIMEOUT 1800)
endif()

add_custom_target(unit_tests)  # what `ctest -L unit` runs
foreach(folder ${folders})
  file(RELATIVE_PATH relative "${CMAKE_SOURCE_DIR}/tests" "${folder}")
  if(relative STREQUAL "dist/nccl" AND NOT SPN_HAVE_CUDA)
    continue()
  endif()
  string(REPLACE "/" "_" name "${relative}")
  file(GLOB sources CONFIGURE_DEPENDS "${folder}/*_test.cpp")
  add_executable(test_${name} ${sources})
  target_link_libraries(test_${name} PRIVATE spn_test_support)
  spn_test_flags(test_${name})
  if(relative MATCHES "^launch")
    target_link_libraries(test_${name} PRIVATE spn_cli)
  endif()
  if(relative STREQUAL "dist/nccl")
    add_test(NAME ${name} COMMAND ${MPIEXEC_EXECUTABLE} -np 2 $<TARGET_FILE:test_${name}>)
    set_tests_properties(${name} PROPERTIES LABELS gpu TIMEOUT 300 ENVIRONMENT "${ranks_env};SPN_REQUIRE_RANKS=2")
  elseif(relative MATCHES "^dist")
    foreach(ranks 1 2 4)
      add_test(NAME ${name}_${ranks} COMMAND ${MPIEXEC_EXECUTABLE} -np ${ranks} $<TARGET_FILE:test_${name}>)
      set_tests_properties(${name}_${ranks} PROPERTIES LABELS dist TIMEOUT 300 PROCESSORS 2
                           ENVIRONMENT "${ranks_env};SPN_REQUIRE_RANKS=${ranks}")
    endforeach()
  else()
    set(labels unit)
    set(env ${mpi_env})
    if(relative MATCHES "^cli")
      set(labels cli)
      set(env ${ranks_env})
      add_dependencies(test_${name} spotniche)
    elseif(relative MATCHES "^data")
      set(labels unit data)
    elseif(relative MATCHES "^slow")
      set(labels slow)
    endif()
    if(labels STREQUAL slow)  # a process each, one at a time: together they would need twice the memory
      gtest_discover_tests(test_${name} DISCOVERY_MODE PRE_TEST PROPERTIES LABELS slow TIMEOUT 1800 RUN_SERIAL ON)
      continue()
    endif()
    add_test(NAME ${name} COMMAND test_${name})
    set_tests_properties(${name} PROPERTIES LABELS "${labels}" TIMEOUT 1800 ENVIRONMENT "${env}")
    if("unit" IN_LIST labels)
      add_dependencies(unit_tests test_${name})
    endif()
  endif()
endforeach()

find_package(Python3 REQUIRED COMPONENTS Interpreter)  # python3
# The scripts of launch/, as a maintainer runs them.
foreach(script local/bundle bench/gpu_check bench/gpu_fakes bench/gpu_report bench/gpu_run)
  get_filename_component(name ${script} NAME)
  add_test(NAME ${name} COMMAND Python3::Interpreter ${CMAKE_SOURCE_DIR}/tests/launch/${script}_test.py ${CMAKE_BINARY_DIR})
  set_tests_properties(${name} PROPERTIES LABELS cli TIMEOUT 900)
endforeach()

# The rules of docs/map.md and of style: plain Python, no dependency.
# headers.py takes minutes: launch/test.sh runs it with --sanitizers.
foreach(rule rules_test arrows words)
  if(SPN_SANITIZE)
    break()  # they look at sources: once is enough
  endif()
  add_test(NAME rule_${rule} COMMAND Python3::Interpreter ${CMAKE_SOURCE_DIR}/tests/rules/${rule}.py ${CMAKE_BINARY_DIR})
  set_tests_properties(rule_${rule} PROPERTIES LABELS unit TIMEOUT 600)
endforeach()

# The long ones begin first, so that none is left running alone at the end.
foreach(long cli cuda_emulated bundle)
  if(TEST ${long})
    set_tests_properties(${long} PROPERTIES COST 100)
  endif()
endforeach()
