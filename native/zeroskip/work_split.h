// How the target rows of a layer are cut into the tasks of threads.
#pragma once

#include <algorithm>
#include <cstdint>

namespace espalier {

// Consecutive target rows that share every tile of weights while it lies in L1: few enough pixels
// for their sums to stay in L2, and enough units to keep all cores busy.
struct WorkUnit {
  int64_t begin, end;
};

class WorkSplit {
 public:
  WorkSplit(int64_t rows, int64_t width, int64_t tasks_a_unit, int threads) : rows_(rows) {
    const int64_t wanted = std::max(8, 4 * threads);
    const int64_t pixels = std::clamp(rows * width * tasks_a_unit / wanted, min_pixels, max_pixels);
    step_ = std::clamp<int64_t>(pixels / std::max<int64_t>(1, width), 1, rows);
  }
  int64_t count() const { return (rows_ + step_ - 1) / step_; }
  int64_t max_rows() const { return step_; }
  WorkUnit operator[](int64_t i) const { return {i * step_, std::min(rows_, (i + 1) * step_)}; }

 private:
  static constexpr int64_t min_pixels = 128;
  static constexpr int64_t max_pixels = 768;
  int64_t rows_, step_;
};

// The same by some panels of columns each, whose sums lie in L2 together.
class PanelWorkSplit {
 public:
  PanelWorkSplit(int64_t rows, int64_t width, int64_t panels, int panel_width, int threads)
      : rows_(rows), panels_(panels), task_panels_(panels) {
    const int64_t wanted = std::max(8, 4 * threads);
    const auto tasks = [&](int64_t pixels) {
      return (rows * width + pixels - 1) / pixels * ((panels_ + task_panels_ - 1) / task_panels_);
    };
    const auto pixels_beside = [&] {
      return std::clamp(max_sums / (task_panels_ * panel_width), min_pixels, max_pixels);
    };
    int64_t pixels = pixels_beside();
    while (tasks(pixels) < wanted && task_panels_ > 1) {
      task_panels_ = (task_panels_ + 1) / 2;
      pixels = pixels_beside();
    }
    while (tasks(pixels) < wanted && pixels > min_pixels) pixels = pixels * 3 / 4;
    step_ = std::clamp<int64_t>(pixels / std::max<int64_t>(1, width), 1, rows);
  }

  int64_t units() const { return (rows_ + step_ - 1) / step_; }
  int64_t panel_tasks() const { return (panels_ + task_panels_ - 1) / task_panels_; }
  int64_t count() const { return units() * panel_tasks(); }
  int64_t max_rows() const { return step_; }
  int64_t max_panels() const { return task_panels_; }

  WorkUnit unit(int64_t task) const {
    const int64_t begin = task / panel_tasks() * step_;
    return {begin, std::min(rows_, begin + step_)};
  }
  int64_t begin_panel(int64_t task) const { return task % panel_tasks() * task_panels_; }
  int64_t end_panel(int64_t task) const {
    return std::min(panels_, begin_panel(task) + task_panels_);
  }

 private:
  static constexpr int64_t max_sums = int64_t(1) << 18;
  static constexpr int64_t min_pixels = 128;
  static constexpr int64_t max_pixels = 768;
  int64_t rows_, panels_, task_panels_, step_;
};

}  // namespace espalier
