#pragma once
#include <cstdint>
#include <string>
#include <vector>

#include "search/results/results_db.h"

namespace moebius::sqlite {

// ResultsDb::query on a read-only connection of its own. SQLite::Exception when the file is at
// fault, Error(BadInput) when the statement is.
QueryResult run_query(const std::string& path, const std::string& sql,
                      const std::vector<Json>& bound, const QueryLimits& limits);

}  // namespace moebius::sqlite
