#include "model/backends/on_reference.h"

#include "model/backends/on_reference_call.h"

namespace moebius {

OnReference::OnReference(Memory& device, Dtype dtype)
    : host_(new Host{device, dtype, reference::Reference(dtype)}) {}
OnReference::~OnReference() = default;

void OnReference::bind(const Params& params, GradientSink& gradients) {
  Host& host = *host_;
  host.of_device = &params;
  host.params = params;
  host.values.assign(static_cast<std::size_t>(params.value_size()), 0);
  host.gradients.assign(static_cast<std::size_t>(params.gradient_size()), 0);
  host.params.attach(host.dtype, reinterpret_cast<std::byte*>(host.values.data()),
                     reinterpret_cast<std::byte*>(host.gradients.data()));
  host.kernels.bind(host.params, gradients);
}

std::int64_t OnReference::bytes(const Params& params) {
  return (params.value_size() + params.gradient_size()) * size_of(Dtype::F64);
}

void OnReference::embed(View token, std::int64_t seq, Weight table, Weight positions, View x) {
  Call call(*host_);
  call.kernels().embed(call.in(token), seq, call.value(table), call.value(positions), call.out(x));
  call.done();
}

void OnReference::embed_backward(View token, std::int64_t seq, View dx, Weight table,
                                 Weight positions) {
  Call call(*host_);
  call.kernels().embed_backward(call.in(token), seq, call.in(dx), call.contribution(table),
                                call.contribution(positions));
  call.done();
}

void OnReference::rms_norm(View x, View residual, Weight gain, View y, View rstd) {
  Call call(*host_);
  call.kernels().rms_norm(call.both(x), call.in(residual), call.value(gain), call.out(y),
                          call.out(rstd));
  call.done();
}

void OnReference::rms_norm_backward(View x, Weight gain, View rstd, View dy, View dx,
                                    View rounded) {
  Call call(*host_);
  call.kernels().rms_norm_backward(call.in(x), call.contribution(gain), call.in(rstd), call.in(dy),
                                   call.both(dx), call.out(rounded));
  call.done();
}

void OnReference::multiply(View x, View y, View product) {
  Call call(*host_);
  call.kernels().multiply(call.in(x), call.in(y), call.out(product));
  call.done();
}

void OnReference::activate(Activation a, View up, View y, View slope) {
  Call call(*host_);
  call.kernels().activate(a, call.in(up), call.out(y), call.out(slope));
  call.done();
}

void OnReference::glu(Activation a, View up, View gate, View y) {
  Call call(*host_);
  call.kernels().glu(a, call.in(up), call.in(gate), call.out(y));
  call.done();
}

void OnReference::glu_backward(Activation a, View up, View gate, View dy, View dup, View dgate) {
  Call call(*host_);
  call.kernels().glu_backward(a, call.in(up), call.in(gate), call.in(dy), call.out(dup),
                              call.out(dgate));
  call.done();
}

void OnReference::matmul(View x, Weight w, View y) {
  Call call(*host_);
  call.kernels().matmul(call.in(x), call.value(w), call.out(y));
  call.done();
}

void OnReference::matmul_transposed(View y, Weight w, View x) {
  Call call(*host_);
  call.kernels().matmul_transposed(call.in(y), call.value(w), call.out(x));
  call.done();
}

void OnReference::matmul_backward(View x, View dy, Weight w, View dx, bool accumulate) {
  Call call(*host_);
  call.kernels().matmul_backward(call.in(x), call.in(dy), call.contribution(w), call.both(dx),
                                 accumulate);
  call.done();
}

void OnReference::expert_matmul(View x, const Routing& r, Weight w, View y) {
  Call call(*host_);
  call.kernels().expert_matmul(call.in(x), call.in(r), call.value(w), call.out(y));
  call.done();
}

void OnReference::expert_matmul_backward(View x, View dy, const Routing& r, Weight w, View dx,
                                         bool accumulate) {
  Call call(*host_);
  call.kernels().expert_matmul_backward(call.in(x), call.in(dy), call.in(r), call.contribution(w),
                                        call.both(dx), accumulate);
  call.done();
}

void OnReference::rotate(View x, std::int64_t seq, std::int64_t heads, double base, bool inverse) {
  Call call(*host_);
  call.kernels().rotate(call.both(x), seq, heads, base, inverse);
  call.done();
}

void OnReference::causal_conv(View x, std::int64_t seq, Weight taps, View y) {
  Call call(*host_);
  call.kernels().causal_conv(call.in(x), seq, call.value(taps), call.out(y));
  call.done();
}

void OnReference::causal_conv_backward(View x, std::int64_t seq, Weight taps, View dy, View dx) {
  Call call(*host_);
  call.kernels().causal_conv_backward(call.in(x), seq, call.contribution(taps), call.in(dy),
                                      call.out(dx));
  call.done();
}

void OnReference::attend(const AttentionShape& shape, View q, View k, View v, Weight bias, View o,
                         View lse) {
  Call call(*host_);
  call.kernels().attend(shape, call.in(q), call.in(k), call.in(v), call.value(bias), call.out(o),
                        call.out(lse));
  call.done();
}

void OnReference::attend_backward(const AttentionShape& shape, View q, View k, View v, Weight bias,
                                  View o, View lse, View do_, View dq, View dk, View dv) {
  Call call(*host_);
  call.kernels().attend_backward(shape, call.in(q), call.in(k), call.in(v), call.contribution(bias),
                                 call.in(o), call.in(lse), call.in(do_), call.out(dq), call.out(dk),
                                 call.out(dv));
  call.done();
}

void OnReference::softmax(View logits, View probs) {
  Call call(*host_);
  call.kernels().softmax(call.in(logits), call.out(probs));
  call.done();
}

void OnReference::softmax_backward(View probs, View dprobs, View dlogits) {
  Call call(*host_);
  call.kernels().softmax_backward(call.in(probs), call.in(dprobs), call.both(dlogits));
  call.done();
}

void OnReference::choose_experts(View probs, const Groups& groups, std::int64_t capacity,
                                 bool renormalise, Routing& r) {
  Call call(*host_);
  Routing chosen = call.out(r);
  call.kernels().choose_experts(call.in(probs), groups, capacity, renormalise, chosen);
  call.done();
}

void OnReference::choose_tokens(View probs, const Groups& groups, std::int64_t capacity,
                                Weight lowest, Routing& r) {
  Call call(*host_);
  Routing chosen = call.out(r);
  call.kernels().choose_tokens(call.in(probs), groups, capacity, call.state(lowest), chosen);
  call.done();
}

void OnReference::follow_lowest(Weight threshold, Weight lowest, double keep) {
  Call call(*host_);
  call.kernels().follow_lowest(call.state(threshold), call.state(lowest), keep);
  call.done();
}

void OnReference::choose_above(View probs, Weight threshold, Routing& r) {
  Call call(*host_);
  Routing chosen = call.out(r);
  call.kernels().choose_above(call.in(probs), call.value(threshold), chosen);
  call.done();
}

void OnReference::choice_backward(View probs, const Routing& r, bool renormalise, View dweight,
                                  View dprobs) {
  Call call(*host_);
  call.kernels().choice_backward(call.in(probs), call.in(r), renormalise, call.in(dweight),
                                 call.both(dprobs));
  call.done();
}

void OnReference::router_losses(View logits, View probs, const Groups& groups, const Routing& r,
                                View statistics) {
  Call call(*host_);
  call.kernels().router_losses(call.in(logits), call.in(probs), groups, call.in(r),
                               call.both(statistics));
  call.done();
}

void OnReference::router_losses_backward(View logits, View probs, const Groups& groups,
                                         const Routing& r, double aux, double z, View dprobs,
                                         View dlogits) {
  Call call(*host_);
  call.kernels().router_losses_backward(call.in(logits), call.in(probs), groups, call.in(r), aux, z,
                                        call.both(dprobs), call.both(dlogits));
  call.done();
}

void OnReference::gather(View x, const Routing& r, View y) {
  Call call(*host_);
  call.kernels().gather(call.in(x), call.in(r), call.out(y));
  call.done();
}

void OnReference::gather_backward(View dy, const Routing& r, View dx) {
  Call call(*host_);
  call.kernels().gather_backward(call.in(dy), call.in(r), call.both(dx));
  call.done();
}

void OnReference::combine(View y, const Routing& r, View out) {
  Call call(*host_);
  call.kernels().combine(call.in(y), call.in(r), call.out(out));
  call.done();
}

void OnReference::combine_backward(View y, const Routing& r, View dout, View dy, View dweight) {
  Call call(*host_);
  call.kernels().combine_backward(call.in(y), call.in(r), call.in(dout), call.out(dy),
                                  call.out(dweight));
  call.done();
}

void OnReference::cross_entropy(View h, Weight table, View target, double scale, View loss,
                                View dh) {
  Call call(*host_);
  call.kernels().cross_entropy(call.in(h),
                               dh.empty() ? call.value(table) : call.contribution(table),
                               call.in(target), scale, call.out(loss), call.out(dh));
  call.done();
}

void OnReference::squared_norm(Weight w, View sum) {
  Call call(*host_);
  call.kernels().squared_norm(call.gradient(w), call.both(sum));
  call.done();
}

void OnReference::apply(Weight w, const Update& update, View norm2, double clip) {
  Call call(*host_);
  std::vector<View> state;
  for (const View& view : update.state) state.push_back(call.both(view));
  call.kernels().apply(call.gradient(call.state(w)), {update.rule, state}, call.in(norm2), clip);
  call.done();
}

}  // namespace moebius
