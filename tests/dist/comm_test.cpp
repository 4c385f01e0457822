// Every collective against what each rank can compute alone, from a rule that all ranks share.
#include "engine/dist/comm.h"

#include <gtest/gtest.h>

#include <numeric>

#include "engine/dist/together.h"
#include "tests/support/world.h"

namespace spn::dist {
namespace {

float value(int rank, std::int64_t i) { return static_cast<float>(rank * 100 + i); }

TEST(Comm, AllReduceSumsAndFindsMax) {
  Comm& comm = test::world();
  for (std::int64_t n : {0, 1, 7, 4099}) {
    std::vector<float> x(static_cast<std::size_t>(n)), y = x;
    for (std::int64_t i = 0; i < n; ++i)
      x[static_cast<std::size_t>(i)] = y[static_cast<std::size_t>(i)] = value(comm.rank(), i);
    comm.all_reduce(host_view(x.data(), {n}));
    comm.all_reduce(host_view(y.data(), {n}), ReduceOp::max);
    for (std::int64_t i = 0; i < n; ++i) {
      float sum = 0;
      for (int r = 0; r < comm.size(); ++r) sum += value(r, i);
      ASSERT_EQ(x[static_cast<std::size_t>(i)], sum);
      ASSERT_EQ(y[static_cast<std::size_t>(i)], value(comm.size() - 1, i));
    }
  }
}

TEST(Comm, BeginAllReduceOverlapsWithOtherCollectives) {
  Comm& comm = test::world();
  std::vector<float> x(10000, 1.0F), y(5, 2.0F);
  comm.prepare_begin();
  auto first = comm.begin_all_reduce(host_view(x.data(), {10000}));
  comm.all_reduce(host_view(y.data(), {5}));
  first->wait();
  for (float v : x) ASSERT_EQ(v, static_cast<float>(comm.size()));
  for (float v : y) ASSERT_EQ(v, 2.0F * static_cast<float>(comm.size()));
}

TEST(Comm, GatherThenReduceScatterIsTimesWorldSize) {
  Comm& comm = test::world();
  const int ranks = comm.size();
  std::vector<double> mine(6), all(static_cast<std::size_t>(6 * ranks)), back(6);
  for (int i = 0; i < 6; ++i) mine[static_cast<std::size_t>(i)] = value(comm.rank(), i);
  comm.all_gather(host_view(mine.data(), {3, 2}), host_view(all.data(), {3 * ranks, 2}));
  for (int r = 0; r < ranks; ++r)
    for (int i = 0; i < 6; ++i) ASSERT_EQ(all[static_cast<std::size_t>(r * 6 + i)], value(r, i));
  comm.reduce_scatter(host_view(all.data(), {3 * ranks, 2}), host_view(back.data(), {3, 2}));
  for (std::size_t i = 0; i < 6; ++i) ASSERT_EQ(back[i], ranks * mine[i]);
}

TEST(Comm, BroadcastSendSplit) {
  Comm& comm = test::world();
  std::int64_t v = comm.rank() + 5;
  comm.broadcast(host_view(&v, {1}), comm.size() - 1);
  EXPECT_EQ(v, comm.size() + 4);
  if (comm.size() > 1) {
    std::int32_t word = comm.rank() * 11;
    if (comm.rank() == 0) comm.send(host_view(&word, {1}), 1);
    if (comm.rank() == 1) {
      comm.recv(host_view(&word, {1}), 0);
      EXPECT_EQ(word, 0);
    }
  }
  auto half = comm.split(comm.rank() % 2);
  std::int32_t one = 1;
  half->all_reduce(host_view(&one, {1}));
  EXPECT_EQ(one, half->size());
  EXPECT_EQ(half->size(), (comm.size() + 1 - comm.rank() % 2) / 2);
}

TEST(Comm, RefusesWrongShapesByName) {
  Comm& comm = test::world();
  std::vector<float> a(4), b(4);
  try {
    comm.all_gather(host_view(a.data(), {4}), host_view(b.data(), {4 * comm.size() + 1}));
    FAIL() << "expected a throw";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("[all_gather]"), std::string::npos) << e.what();
  }
}

TEST(Comm, StringsOfUnequalLength) {
  Comm& comm = test::world();
  const auto all = all_gather_strings(comm, std::string(static_cast<std::size_t>(comm.rank() * 3), 'x'));
  for (int r = 0; r < comm.size(); ++r)
    EXPECT_EQ(all[static_cast<std::size_t>(r)].size(), static_cast<std::size_t>(r * 3));
}

TEST(Comm, OneRanksFailureFailsAll) {
  Comm& comm = test::world();
  try {
    together(comm, "test", [&] {
      if (comm.rank() == comm.size() - 1) fail_data("reader", "row 7 is empty");
    });
    FAIL() << "expected a throw";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::data);
    EXPECT_NE(std::string(e.what()).find("row 7 is empty"), std::string::npos);
  }
}

}  // namespace
}  // namespace spn::dist
