target_sources(moebius_search PRIVATE
  commands/args.cpp
  commands/checkpoint_model.cpp
  commands/commands.cpp
  report/draw.cpp
  exporters/exporter.cpp
  commands/help.cpp
  report/leaderboard.cpp
  commands/listing.cpp
  commands/options.cpp
  commands/progress.cpp
  commands/run.cpp
  commands/session.cpp
  commands/session_run.cpp
  report/table.cpp
  report/verdict.cpp)
moebius_plugins(moebius_search commands)
moebius_plugins(moebius_search exporters)

# What the binary says of itself: taken again at every configure, and when the checked-out commit
# changes.
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/results/version.cpp.in)
foreach(file HEAD logs/HEAD)
  if(EXISTS ${CMAKE_SOURCE_DIR}/.git/${file})
    set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/.git/${file})
  endif()
endforeach()
execute_process(COMMAND git describe --always --dirty=+ --exclude * WORKING_DIRECTORY ${CMAKE_SOURCE_DIR}
  OUTPUT_VARIABLE MOEBIUS_REVISION OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
if(NOT MOEBIUS_REVISION)
  set(MOEBIUS_REVISION unknown)
endif()
configure_file(results/version.cpp.in ${CMAKE_BINARY_DIR}/version.cpp @ONLY)
target_sources(moebius_search PRIVATE ${CMAKE_BINARY_DIR}/version.cpp)
