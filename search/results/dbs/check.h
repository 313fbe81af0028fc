#pragma once
#include <SQLiteCpp/Database.h>

#include <string>
#include <vector>

namespace moebius::sqlite {

// ResultsDb::check: one line for each broken invariant, whatever killed the programs that wrote.
std::vector<std::string> broken_invariants(SQLite::Database& database);

}  // namespace moebius::sqlite
