#pragma once
#include <SQLiteCpp/Database.h>

#include <string>

#include "space/spec.h"

// What of a block stands in columns of its own.
namespace moebius::sqlite {

// The view `sublayers`: study, number, position, and a column for every field that sub-layers of
// the stored blocks have. A field whose name SQL or the view itself uses gets "field_" in front.
// Makes it, or makes it again where `spec` brings fields that it lacks; runs in the caller's
// transaction.
void show_fields(SQLite::Database& database, const Spec& spec);

// "agaf x6"; "" where today's layer types do not know the block any more.
std::string block_text(const Spec& spec);

}  // namespace moebius::sqlite
