target_sources(moebius_model PRIVATE)
