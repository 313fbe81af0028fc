// Instructions where they must not be, for the check that looks for them. Nothing of it is run.
namespace moebius::cpu {

namespace N_AVX2 {
[[gnu::noinline]] void planted_callee() { asm volatile("vaddps %ymm0, %ymm0, %ymm0"); }
void planted_registers() { asm volatile("vaddps %xmm0, %xmm17, %xmm0"); }
}  // namespace N_AVX2

namespace N_AVX3 {
struct Local {};
void planted_bf16() { asm volatile("vcvtneps2bf16 %zmm0, %ymm0"); }
}  // namespace N_AVX3

namespace N_AVX3_BF16 {
void right_here() { asm volatile("vdpbf16ps %zmm0, %zmm0, %zmm0"); }
void planted_tile() { asm volatile("tilezero %tmm0"); }
}  // namespace N_AVX3_BF16

// It belongs to the level of its argument.
template <class T>
void planted_template() {
  asm volatile("vcvtne2ps2bf16 %zmm0, %zmm0, %zmm0");
}
// A parameter's type says nothing of the function.
void planted_parameter(N_AVX3::Local /*unused*/) { asm volatile("vaddps %ymm0, %ymm0, %ymm0"); }
void planted_call() { N_AVX2::planted_callee(); }
void planted_popcnt() { asm volatile("popcnt %eax, %eax"); }

// The places are those of PerLevel.
void right_function() {}
using Kernel = void (*)();
extern const Kernel planted_kernels[2];
const Kernel planted_kernels[2] = {&right_function, &N_AVX2::planted_callee};

}  // namespace moebius::cpu

int main(int argc, char** /*argv*/) {
  using namespace moebius::cpu;
  const Kernel volatile all[] = {&N_AVX2::planted_registers,
                                 &N_AVX3::planted_bf16,
                                 &N_AVX3_BF16::right_here,
                                 &N_AVX3_BF16::planted_tile,
                                 &planted_template<N_AVX3::Local>,
                                 &planted_call,
                                 &planted_popcnt,
                                 planted_kernels[argc % 2]};
  void (*const volatile with_parameter)(N_AVX3::Local) = &planted_parameter;
  if (argc < 1000) return 0;
  all[argc % 8]();
  with_parameter({});
}
