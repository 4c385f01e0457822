// Sizes of groups, and the loss over groups against the loss of each group's block alone.
#include "engine/train/negative_groups.h"

#include <gtest/gtest.h>

#include "engine/ops/contrastive.h"
#include "engine/ops/elementwise.h"
#include "engine/ops/norm.h"
#include "tests/support/tensors.h"
#include "tests/support/world.h"

namespace spn::train {
namespace {

TEST(NegativeGroups, LargestDivisorThatFits) {
  EXPECT_EQ(negative_group_size(8, 128, 0), 8);
  EXPECT_EQ(negative_group_size(8, 128, 1023), 8);
  EXPECT_EQ(negative_group_size(8, 128, 1022), 4);
  EXPECT_EQ(negative_group_size(8, 128, 511), 4);
  EXPECT_EQ(negative_group_size(8, 128, 127), 1);
  EXPECT_EQ(negative_group_size(6, 10, 49), 3);  // five ranks would fit and do not divide six
  EXPECT_EQ(negative_group_size(7, 10, 65), 1);
  EXPECT_EQ(negative_group_size(1, 1, 1), 1);
}

TEST(NegativeGroups, TooFewIsAUsageError) {
  try {
    negative_group_size(4, 128, 100);
    FAIL() << "expected a throw";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage);
    EXPECT_NE(std::string(e.what()).find("at least 127"), std::string::npos) << e.what();
  }
  EXPECT_THROW(negative_group_size(4, 128, -1), Error);
}

TEST(NegativeGroups, GroupsAreBlocksAndSharesAddUpToTheirMean) {
  dist::Comm& comm = test::world();
  const std::int64_t b = 6;
  for (const int size : {1, 2, 4}) {
    if (comm.size() % size != 0) continue;
    const NegativeGroup group = make_negative_group(comm, b, size * b - 1);
    ASSERT_EQ(group.comm->size(), size);
    EXPECT_EQ(group.groups, comm.size() / size);
    EXPECT_EQ(group.comm->rank(), comm.rank() % size);
    EXPECT_EQ(group.comm.get() == &comm, group.groups == 1);  // no second communicator of the same ranks

    const auto rows = [&](std::uint64_t stream) {
      return ops::l2_normalise(Var(test::random({b * comm.size(), 5}, stream))).value();
    };
    const Tensor x = rows(1), y = rows(2);
    const Var scale(Tensor::full({1}, 10, DType::f64));
    const auto loss = [&](std::int64_t first, std::int64_t n, dist::Comm& over) {
      return ops::contrastive(Var(x.narrow(0, first, n)), Var(y.narrow(0, first, n)), scale, {}, over);
    };
    double sum = loss(b * comm.rank(), b, *group.comm).loss.value().item() / group.groups, want = 0;
    comm.all_reduce(host_view(&sum, {1}));
    const auto self = dist::make_self();
    for (int g = 0; g < group.groups; ++g) want += loss(g * size * b, size * b, *self).total.item() / group.groups;
    EXPECT_NEAR(sum, want, 1e-12);
  }
}

}  // namespace
}  // namespace spn::train
