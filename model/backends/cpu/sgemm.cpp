#include "model/backends/cpu/sgemm.h"

#include <omp.h>
#include <oneapi/dnnl/dnnl.h>

#include <algorithm>

namespace moebius::cpu {

void sgemm(const Factor& a, const Factor& b, const Floats& c, float alpha, float beta) {
  // The library's team is a setting of each thread. Ours share work by tiles, outside.
  thread_local const bool alone = (omp_set_num_threads(1), true);
  static_cast<void>(alone);
  MOEBIUS_CHECK(a.cols == b.rows && a.rows == c.rows && b.cols == c.cols,
                "[sgemm] [{}, {}] times [{}, {}] into [{}, {}]", a.rows, a.cols, b.rows, b.cols,
                c.rows, c.cols);
  if (c.empty()) return;
  if (a.cols == 0) {
    for (std::int64_t i = 0; i < c.rows && beta == 0; ++i) std::fill_n(c.row(i), c.cols, 0.0f);
    return;
  }
  const dnnl_status_t status =
      dnnl_sgemm(a.transposed ? 'T' : 'N', b.transposed ? 'T' : 'N', c.rows, c.cols, a.cols, alpha,
                 a.data, a.ld, b.data, b.ld, beta, c.data, c.ld);
  MOEBIUS_CHECK(status == dnnl_success, "[sgemm] oneDNN status {}", static_cast<int>(status));
}

}  // namespace moebius::cpu
