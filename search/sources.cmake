target_sources(moebius_search PRIVATE
  args.cpp
  exporter.cpp)
moebius_plugins(moebius_search commands)
moebius_plugins(moebius_search exporters)
