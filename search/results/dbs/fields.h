#pragma once

#include <string>

#include "search/results/dbs/connection.h"
#include "space/spec.h"

// What of a block stands in columns of its own.
namespace moebius::sqlite {

// The view `sublayers`: study, number, position, and a column for every field that sub-layers of
// the stored blocks have. A field whose name SQL or the view itself uses gets "field_" in front.
// Makes it, or makes it again where `spec` brings fields that it lacks; runs in the caller's
// transaction.
void show_fields(Connection& database, const Spec& spec);

}  // namespace moebius::sqlite
