// Save, step, reload, step again: bit-equal weights and state, through a checkpoint on disk.
#include <gtest/gtest.h>

#include <cstring>

#include "engine/ckpt/checkpoint.h"
#include "engine/optim/optimizer.h"
#include "tests/support/temp_folder.h"
#include "tests/support/tensors.h"

namespace spn::optim {
namespace {

std::vector<Var> start() {
  return {Var(test::random({33, 7}, 1, DType::f32), true, "w.weight"),
          Var(test::random({33}, 2, DType::f32), true, "w.bias")};
}

void train(const std::vector<Var>& v, Optimizer& o, std::uint64_t from, std::uint64_t to) {
  for (std::uint64_t t = from; t < to; ++t) {
    for (std::size_t i = 0; i < v.size(); ++i) v[i].set_grad(test::random(v[i].shape(), 100 + 10 * t + i, DType::f32));
    o.step({.lr = 0.01 * static_cast<double>(t + 1), .weight_decay = 0.1, .clip_norm = 1});
  }
}

using Make = std::unique_ptr<Optimizer> (*)(std::vector<Item>);

void expect_resumes(Make make) {
  const test::TempFolder run;
  const auto a = start();
  const auto one = make(make_items(a));
  train(a, *one, 0, 5);
  ckpt::Snapshot s;
  s.state.step = 5;
  for (const Var& v : a) s.model.push_back({v.name(), v.value()});
  s.optimizer = one->state();
  const std::string folder = ckpt::save(*dist::make_self(), run.path(), s, 0);
  train(a, *one, 5, 9);

  const auto b = start();
  const auto two = make(make_items(b));
  const auto l = ckpt::load(folder);
  for (const Var& v : b) v.set_value(l.model.at(v.name()));
  two->load_state(l.optimizer, folder);
  EXPECT_EQ(two->steps(), 5);
  train(b, *two, 5, 9);
  for (std::size_t i = 0; i < a.size(); ++i)
    EXPECT_EQ(std::memcmp(a[i].value().view().data, b[i].value().view().data, a[i].value().bytes()), 0);
  for (std::size_t i = 0; i < one->state().size(); ++i) {
    const Tensor &x = one->state()[i].tensor, &y = two->state()[i].tensor;
    EXPECT_EQ(std::memcmp(x.view().data, y.view().data, x.bytes()), 0) << one->state()[i].name;
  }
}

TEST(Resume, AdamWIsBitExact) {
  expect_resumes([](std::vector<Item> i) { return make_adamw(std::move(i)); });
}

TEST(Resume, SgdIsBitExact) {
  expect_resumes([](std::vector<Item> i) { return make_sgd(std::move(i)); });
}

TEST(Resume, StateThatDoesNotFitIsNamed) {
  const auto v = start();
  const auto o = make_adamw(make_items(v));
  train(v, *o, 0, 1);
  std::map<std::string, Tensor> saved;
  for (const auto& [name, t] : o->state()) saved.emplace(name, t.clone());
  saved.erase("step");
  saved["exp_avg.w.bias"] = test::random({5}, 1, DType::f32);
  saved["momentum.w.bias"] = test::random({5}, 1, DType::f32);
  try {
    o->load_state(saved, "somewhere");
    FAIL() << "expected a throw";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::data);
    for (const char* says :
         {"somewhere", "missing step", "exp_avg.w.bias: expected f32 [33], got f32 [5]", "unexpected momentum.w.bias"})
      EXPECT_NE(std::string(e.what()).find(says), std::string::npos) << e.what();
  }
  EXPECT_EQ(o->steps(), 1);
}

}  // namespace
}  // namespace spn::optim
