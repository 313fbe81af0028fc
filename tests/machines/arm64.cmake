# Builds for Debian on arm64: Debian's cross compiler, and of the root MOEBIUS_ARM64_ROOT the headers
# and libraries. What is built runs under qemu-aarch64 with the libraries of that root.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_SYSROOT ${MOEBIUS_ARM64_ROOT})
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -L ${MOEBIUS_ARM64_ROOT})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_PACKAGE ONLY)
# CMake's trial compilations read this file too.
set(CMAKE_TRY_COMPILE_PLATFORM_VARIABLES MOEBIUS_ARM64_ROOT)
