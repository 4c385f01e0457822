# spn_precompile(target header): parsed once for all sources of the target, or of those that REUSE it.
function(spn_precompile target)
  target_precompile_headers(${target} PRIVATE ${ARGN})
  if(SPN_CCACHE AND CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # what ccache's manual asks for where headers are precompiled
    target_compile_options(${target} PRIVATE -fpch-preprocess)
    set_target_properties(${target} PROPERTIES CXX_COMPILER_LAUNCHER
      "${CMAKE_COMMAND};-E;env;CCACHE_SLOPPINESS=pch_defines,time_macros;${SPN_CCACHE}")
  endif()
endfunction()
