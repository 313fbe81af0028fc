#pragma once
#include <cstddef>
#include <cstdint>
#include <deque>
#include <vector>

#include "model/backends/on_reference.h"
#include "model/backends/reference/reference.h"
#include "model/numbers.h"

namespace moebius {

// The reference back-end, and weights and gradients where it can reach them.
struct OnReference::Host {
  Memory& device;
  Dtype dtype;
  reference::Reference kernels;
  const Params* of_device = nullptr;
  Params params = {};                               // the same slots in host memory
  std::vector<double> values = {}, gradients = {};  // room for either type
};

// The views and weights of one call. An argument that is read is copied to the host where it is
// named; one that is written is copied back by done().
class OnReference::Call {
 public:
  explicit Call(Host& host) : host_(host) {
    host_.kernels.weights_changed();  // its log of products has no reader and must not grow
  }
  reference::Reference& kernels() { return host_.kernels; }
  void done() {
    for (const Copy& copy : written_)
      transport(host_.kernels, copy.host, host_.device, copy.device);
  }

  View in(View device) { return take(device, true, false); }
  View out(View device) { return take(device, false, true); }
  View both(View device) { return take(device, true, true); }
  Routing in(const Routing& r) {
    return each_view(r, [&](View v) { return in(v); });
  }
  Routing out(const Routing& r) {
    return each_view(r, [&](View v) { return out(v); });
  }

  // The kernel reads the weight.
  Weight value(Weight w) {
    if (!w.empty()) bring(value_of(w));
    return w;
  }
  // The kernel changes the weight.
  Weight state(Weight w) {
    if (!w.empty()) written_.push_back(bring(value_of(w)));
    return w;
  }
  // The kernel reads the gradient.
  Weight gradient(Weight w) {
    bring(gradient_of(w));
    return w;
  }
  // The kernel reads the weight and contributes to its gradient.
  Weight contribution(Weight w) {
    if (!value(w).empty()) written_.push_back(bring(gradient_of(w)));
    return w;
  }

 private:
  struct Copy {
    View device, host;
  };

  template <class Each>
  static Routing each_view(const Routing& r, const Each& view) {
    return {view(r.offset), view(r.token), view(r.weight), view(r.choice), view(r.row), r.expected};
  }
  static void transport(Memory& from_memory, View from, Memory& to_memory, View to) {
    if (from.dtype != to.dtype)
      return write_numbers(to_memory, to, read_numbers(from_memory, from));
    std::vector<std::byte> bytes(static_cast<std::size_t>(from.size() * size_of(from.dtype)));
    from_memory.read(from, bytes.data());
    to_memory.write(to, bytes.data());
  }
  Copy bring(const Copy& copy) {
    transport(host_.device, copy.device, host_.kernels, copy.host);
    return copy;
  }
  // bf16 becomes f32; all else has kernels on the host.
  View take(View device, bool read, bool write) {
    if (device.empty()) return device;
    memory_.emplace_back(static_cast<std::size_t>(device.size()));
    const View host = {reinterpret_cast<std::byte*>(memory_.back().data()),
                       device.dtype == Dtype::BF16 ? host_.dtype : device.dtype, device.rows,
                       device.cols, device.cols};
    const Copy copy = {device, host};
    if (read) bring(copy);
    if (write) written_.push_back(copy);
    return host;
  }
  Copy value_of(Weight w) { return {host_.of_device->value(w), host_.params.value(w)}; }
  Copy gradient_of(Weight w) { return {host_.of_device->gradient(w), host_.params.gradient(w)}; }

  Host& host_;
  std::deque<std::vector<double>> memory_;  // room for any type
  std::vector<Copy> written_;
};

}  // namespace moebius
