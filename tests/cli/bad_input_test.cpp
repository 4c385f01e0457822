// What a user's mistakes give: a message that says which file or option, exit 2 for options and 3 for data, and nothing
// half-written under the final name.
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "data/h5/h5.h"
#include "tests/support/cli_run.h"

namespace spn {
namespace {

namespace fs = std::filesystem;
using test::expect;
using test::made_data;
using test::run_binary;

std::string pretrain_args(const std::string& run) {
  return "pretrain --pack '" + made_data().train_pack + "' --output '" + run + "' --global-batch 16 --steps 2" +
         test::kSmallModel;
}

// A copy of the made slides that a test may damage.
struct Damaged {
  test::TempFolder folder;
  std::string slides = folder / "slides", coord, count, image;
  Damaged() {
    fs::copy(made_data().slides, slides, fs::copy_options::recursive);
    for (const auto& e : fs::directory_iterator(slides + "/ST/coord")) {
      const std::string file = e.path().filename().string();
      const std::string name = file.substr(0, file.find("_coord.csv"));
      if (!coord.empty() && coord < e.path().string()) continue;
      coord = e.path().string();
      count = slides + "/ST/gene_exp/" + name + "_count.csv";
      image = slides + "/ST/image/" + name + ".png";
    }
  }
  test::Ran prepare(const std::string& genes = "--gene-count 20") const {
    return run_binary("prepare --format stimage-1k4m --input '" + slides + "' --output '" + (folder / "out.h5") + "' " +
                      genes);
  }
  void expect_nothing_left() const {
    EXPECT_FALSE(fs::exists(folder / "out.h5"));
    for (const auto& name : folder.files())
      EXPECT_EQ(name.find("out.h5"), std::string::npos) << name << " was left behind";
  }
};

std::vector<std::string> lines_of(const std::string& file) {
  std::ifstream in(file);
  std::vector<std::string> out;
  for (std::string l; std::getline(in, l);) out.push_back(l);
  return out;
}
void write_lines(const std::string& file, const std::vector<std::string>& lines) {
  std::ofstream out(file);
  for (const auto& l : lines) out << l << "\n";
}
std::string base(const std::string& path) { return fs::path(path).filename().string(); }

TEST(BadInput, MissingImage) {
  const Damaged d;
  fs::remove(d.image);
  expect(d.prepare(), 3, {fs::path(d.image).stem().string()});
  d.expect_nothing_left();
}

TEST(BadInput, TruncatedCounts) {
  const Damaged d;
  const std::string bytes = test::read_text(d.count);
  std::ofstream(d.count, std::ios::binary) << bytes.substr(0, bytes.size() * 2 / 3);
  expect(d.prepare(), 3, {base(d.count), "row"});
  d.expect_nothing_left();
}

TEST(BadInput, CountsThatAreNone) {
  for (const std::string bad : {"-2", "NaNs", "inf"}) {
    const Damaged d;
    auto lines = lines_of(d.count);
    const auto comma = lines[3].find(',');
    lines[3] = lines[3].substr(0, comma + 1) + bad + lines[3].substr(lines[3].find(',', comma + 1));
    write_lines(d.count, lines);
    expect(d.prepare(), 3, {base(d.count), "row 4", bad});
    d.expect_nothing_left();
  }
}

TEST(BadInput, TextForANumber) {
  const Damaged d;
  auto lines = lines_of(d.coord);
  lines[2] = lines[2].substr(0, lines[2].find(',')) + ",here,there,5";
  write_lines(d.coord, lines);
  expect(d.prepare(), 3, {base(d.coord), "here"});
}

TEST(BadInput, DuplicateSpot) {
  const Damaged d;
  auto lines = lines_of(d.count);
  lines.push_back(lines[1]);
  write_lines(d.count, lines);
  expect(d.prepare(), 3, {base(d.count)});
  d.expect_nothing_left();
}

TEST(BadInput, CoordinatesOfAnotherImage) {
  const Damaged d;
  auto lines = lines_of(d.coord);
  for (std::size_t i = 1; i < lines.size(); ++i) {
    const auto a = lines[i].find(',');
    lines[i] = lines[i].substr(0, a) + "," + std::to_string(900000 + 400 * (i / 7)) + "," +
               std::to_string(900000 + 400 * (i % 7)) + ",50";
  }
  write_lines(d.coord, lines);
  expect(d.prepare(), 3, {"image"});
  d.expect_nothing_left();
}

TEST(BadInput, NoCommonGene) {
  const Damaged d;
  std::ofstream(d.folder / "genes.txt") << "NOT_A_GENE\nNOR_THIS\n";
  expect(d.prepare("--gene-list '" + (d.folder / "genes.txt") + "'"), 3, {"gene"});
  d.expect_nothing_left();
}

TEST(BadInput, FullDiskWhilePreparing) {
  const Damaged d;
  // a file-size limit stands in for the full disk: writes fail the same way
  const auto ran = run_binary("prepare --format stimage-1k4m --input '" + d.slides + "' --gene-count 20 --output '" +
                                  (d.folder / "out.h5") + "'",
                              "ulimit -f 200; trap '' XFSZ; ");
  EXPECT_EQ(ran.status, 3) << ran.text;
  d.expect_nothing_left();
}

TEST(BadInput, PackOfAnotherVersionTruncatedOrMissing) {
  const test::TempFolder folder;
  expect(run_binary("pretrain --pack /does/not/exist.h5 --output '" + (folder / "run") + "' --steps 1"), 3,
         {"/does/not/exist.h5"});
  const std::string cut = folder / "cut.h5";
  fs::copy(made_data().train_pack, cut);
  fs::resize_file(cut, fs::file_size(cut) / 2);
  expect(run_binary("pretrain --pack '" + cut + "' --output '" + (folder / "run") + "' --steps 1"), 3, {"cut.h5"});
  std::ofstream(folder / "text.h5") << "not a pack";
  expect(run_binary("pretrain --pack '" + (folder / "text.h5") + "' --output '" + (folder / "run") + "' --steps 1"), 3,
         {"text.h5"});
  const std::string newer = folder / "newer.h5";
  fs::copy(made_data().train_pack, newer);
  auto file = data::h5::File::open_to_write(newer);
  file.set_integer("/", "format_version", 7);
  file.close();
  expect(run_binary("pretrain --pack '" + newer + "' --output '" + (folder / "run") + "' --steps 1"), 3,
         {"newer.h5", "format_version 1", "got 7"});
  EXPECT_FALSE(fs::exists(folder / "run"));
}

TEST(BadInput, PackChangedUnderAResumedRun) {
  const test::TempFolder folder;
  const std::string run = folder / "run";
  ASSERT_EQ(run_binary(pretrain_args(run)).status, 0);
  expect(run_binary("pretrain --pack '" + made_data().held_out_pack + "' --output '" + run +
                    "' --global-batch 16 --steps 4" + test::kSmallModel),
         3, {"another pack"});
  expect(run_binary(pretrain_args(run) + " --seed 7"), 2, {"--seed"});
  expect(run_binary("pretrain --pack '" + made_data().train_pack + "' --output '" + run +
                    "' --global-batch 8 --steps 4" + test::kSmallModel),
         2, {"--global-batch"});
}

TEST(BadInput, DamagedCheckpoint) {
  const test::TempFolder folder;
  const std::string run = folder / "run";
  ASSERT_EQ(run_binary(pretrain_args(run)).status, 0);
  const std::string weights = run + "/checkpoints/step-00000002/model.safetensors";
  fs::resize_file(weights, fs::file_size(weights) - 8);
  expect(run_binary("embed --checkpoint '" + run + "/checkpoints/step-00000002' --pack '" + made_data().held_out_pack +
                    "' --output '" + (folder / "o.h5ad") + "'"),
         3, {"model.safetensors"});
  EXPECT_FALSE(fs::exists(folder / "o.h5ad"));
}

TEST(BadInput, GenesOfAnotherModel) {
  const test::TempFolder folder;
  ASSERT_EQ(run_binary(pretrain_args(folder / "run")).status, 0);
  ASSERT_EQ(
      run_binary("prepare --format stimage-1k4m --spot-image-px 16 --niche-image-px 32 --gene-count 40 --input '" +
                 made_data().slides + "' --output '" + (folder / "p.h5") + "'")
          .status,
      0);
  expect(run_binary("embed --checkpoint '" + (folder / "run") + "' --pack '" + (folder / "p.h5") + "' --output '" +
                    (folder / "o.h5ad") + "'"),
         3, {"genes"});
}

TEST(BadInput, Options) {
  const test::TempFolder folder;
  expect(run_binary("pretrain --pak x"), 2, {"did you mean --pack"});
  expect(run_binary("pretrain"), 2, {"--pack"});
  expect(run_binary("fly"), 2, {"prepare", "pretrain"});
  expect(run_binary(""), 2, {"usage"});
  expect(run_binary(pretrain_args(folder / "r") + " --global-batch 15", test::on_ranks(2)), 2,
         {"multiple of the number of ranks"});
  expect(run_binary(pretrain_args(folder / "r") + " --global-batch 1000"), 2, {"1000"});
  expect(run_binary(pretrain_args(folder / "r") + " --device cuda"), 2, {"CUDA"});
  expect(run_binary(pretrain_args(folder / "r") + " --fusion-heads 3"), 2, {"fusion-heads"});
  // divisors, sizes and counts
  for (const char* key : {"fusion-heads", "vit-heads", "vit-patch", "head-hidden", "tokens", "niche-gene-head-width"})
    expect(run_binary(pretrain_args(folder / "r") + " --" + key + " 0"), 2, {key, "expected at least 1, got 0"});
  expect(run_binary("bench step --vit-patch 0"), 2, {"vit-patch", "expected at least 1, got 0"});
  struct Number {
    const char *option, *value;
  };
  for (const Number& n : {Number{"warmup-steps", "-3"}, Number{"clip-norm", "-1"}, Number{"final-lr", "-0.5"},
                          Number{"checkpoint-every", "-2"}, Number{"prefetch", "0"}, Number{"residency-gib", "-1"},
                          Number{"lr-scale", "*=0.1abc"}, Number{"lr-scale", "*=nan"}, Number{"lr-scale", "*=-1"}})
    expect(
        run_binary(pretrain_args(folder / "r") + fmt::format(" --{} '{}'", n.option, n.value)), 2,
        {std::string("--") + n.option + ": expected", std::string(n.value).substr(std::string(n.value).find('=') + 1)});
  // what would do nothing
  expect(run_binary(pretrain_args(folder / "r") + " --exclude-radius-um 300"), 2, {"--negatives exclude_radius_um"});
  expect(run_binary(pretrain_args(folder / "r") + " --residency-gib 2"), 2, {"--residency host or gpu"});
  expect(run_binary(pretrain_args(folder / "r") + " --residency host --loader-threads 2"), 2, {"--residency disk"});
  expect(run_binary("prepare --format stimage-1k4m --input x --output '" + (folder / "p.h5") +
                    "' --gene-list x --gene-presence 0.5"),
         2, {"--gene-presence"});
  EXPECT_FALSE(fs::exists(folder / "r"));
}

// Before any work: a checkpoint that is not there would be said first otherwise.
TEST(BadInput, PlacesForResults) {
  const test::TempFolder folder;
  std::ofstream(folder / "file") << "text";
  const std::string on = " --checkpoint /does/not/exist --pack x --output '";
  expect(run_binary("evaluate" + on + (folder / "file") + "'"), 2, {"expected a folder, got a file"});
  expect(run_binary("embed" + on + folder.path() + "'"), 2, {"expected a file, got a folder"});
  expect(run_binary("embed" + on + (folder / "none/a.h5ad") + "'"), 2, {"there is no folder"});
}

TEST(BadInput, HelpIsSaidOnce) {
  const auto ran = run_binary("embed --help", test::on_ranks(2));
  EXPECT_EQ(ran.status, 0) << ran.text;
  ASSERT_NE(ran.text.find("usage: spotniche embed"), std::string::npos) << ran.text;
  EXPECT_EQ(ran.text.find("usage: spotniche embed"), ran.text.rfind("usage: spotniche embed")) << ran.text;
}

}  // namespace
}  // namespace spn
