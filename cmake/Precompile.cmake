# spn_precompile(target PRIVATE header): parsed once for all sources of the target.
# spn_precompile(target REUSE_FROM other): what another target, compiled with the same flags, parsed.
function(spn_precompile target)
  target_precompile_headers(${target} ${ARGN})
  if(SPN_CCACHE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # what ccache's manual asks for where headers are precompiled
    target_compile_options(${target} PRIVATE -fpch-preprocess)
    set_target_properties(${target} PROPERTIES CXX_COMPILER_LAUNCHER
      "${CMAKE_COMMAND};-E;env;CCACHE_SLOPPINESS=pch_defines,time_macros;${SPN_CCACHE}")
  endif()
endfunction()
