#include "search/commands/args.h"

int main(int argc, char** argv) { return moebius::run_command_line(argc, argv); }
