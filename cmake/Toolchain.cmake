# Language level, warnings as errors, sanitizers, ccache and a fast linker where there is one.
set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

find_program(SPN_CCACHE ccache)
if(SPN_CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  set(CMAKE_C_COMPILER_LAUNCHER ${SPN_CCACHE})
  set(CMAKE_CXX_COMPILER_LAUNCHER ${SPN_CCACHE})
endif()

include(CheckLinkerFlag)
check_linker_flag(CXX "-fuse-ld=mold" SPN_HAVE_MOLD)
if(SPN_HAVE_MOLD)
  add_link_options(-fuse-ld=mold)
endif()

add_library(spn_flags INTERFACE)
target_include_directories(spn_flags INTERFACE ${CMAKE_SOURCE_DIR})
target_compile_options(spn_flags INTERFACE -Wall -Wextra -Wpedantic -Wshadow -Wnon-virtual-dtor -Wold-style-cast
                                           -Woverloaded-virtual -Werror)
# -Wno-*: false alarms of GCC 12 on std::vector and fmt; and designated initialisers leave optional fields out on purpose.
target_compile_options(spn_flags INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-stringop-overflow -Wno-array-bounds
                                           -Wno-stringop-overread -Wno-restrict -Wno-maybe-uninitialized
                                           -Wno-dangling-pointer -Wno-missing-field-initializers>)
# Vectors wider than the CPU's are passed another way than on a CPU that has them; nothing of ours is a binary interface.
target_compile_options(spn_flags INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-psabi>)
if(SPN_SANITIZE)
  # sanitizers keep GCC 12 from seeing that its own AVX-512 headers mean their undefined operands (GCC bug 105593)
  target_compile_options(spn_flags INTERFACE $<$<CXX_COMPILER_ID:GNU>:-Wno-uninitialized>)
  # null, vptr and object-size double the compilation, and what they find AddressSanitizer finds too, when it happens
  add_compile_options(-fsanitize=address,undefined -fno-sanitize=null,vptr,object-size -fno-omit-frame-pointer
                      -fno-sanitize-recover=undefined)
  add_link_options(-fsanitize=address,undefined)
endif()
