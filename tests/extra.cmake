# Tests that are more than one room's GoogleTest program.

# --- the shape of the source tree
add_executable(layering_tests layering_test.cpp)
target_compile_definitions(layering_tests PRIVATE MOEBIUS_SOURCE_DIR="${CMAKE_SOURCE_DIR}")
target_link_libraries(layering_tests PRIVATE moebius_flags GTest::gtest GTest::gmock GTest::gtest_main)
gtest_discover_tests(layering_tests PROPERTIES TIMEOUT 60)

# --- numerics against PyTorch, with Debian's python3 (77: it has no torch)
set(python /usr/bin/python3)
if(TARGET moebius_model)
  set(oracle ${CMAKE_CURRENT_SOURCE_DIR}/oracle)
  file(GLOB cases CONFIGURE_DEPENDS ${oracle}/blocks/*.json)
  add_executable(oracle_dump oracle/dump.cpp)
  target_link_libraries(oracle_dump PRIVATE moebius_model)
  add_test(NAME oracle.dump COMMAND oracle_dump oracle all ${cases})
  add_test(NAME oracle.twin_agrees COMMAND ${python} -B ${oracle}/check.py oracle)
  # A gradient that is wrong by a millionth must be the one tensor that misses.
  add_test(NAME oracle.finds_a_wrong_gradient
    COMMAND ${python} -B ${oracle}/check.py --plant stack.0.sublayer.1.moe.router oracle/micro-batches)
  set_tests_properties(oracle.dump PROPERTIES FIXTURES_SETUP oracle TIMEOUT 300)
  set_tests_properties(oracle.twin_agrees oracle.finds_a_wrong_gradient PROPERTIES
    FIXTURES_REQUIRED oracle SKIP_RETURN_CODE 77 TIMEOUT 300)
  set_tests_properties(oracle.finds_a_wrong_gradient PROPERTIES
    PASS_REGULAR_EXPRESSION "MISS gradient/stack.0.sublayer.1.moe.router\n1 blocks, 1 missed")
endif()

# --- the command line, and what a search survives
if(TARGET moebius)
  add_subdirectory(cli)
  add_subdirectory(machines)
  add_subdirectory(plugins)
  add_test(NAME faults.killed_search
    COMMAND ${python} -B ${CMAKE_CURRENT_SOURCE_DIR}/faults/kill_loop.py $<TARGET_FILE:moebius> --seconds 5)
  set_tests_properties(faults.killed_search PROPERTIES TIMEOUT 300)
endif()
