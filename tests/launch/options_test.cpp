// The option table: order of sources, errors that name the nearest key, the resolved file repeats the run.
#include "launch/cli/options.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "engine/core/check.h"
#include "tests/support/temp_folder.h"

namespace spn::cli {
namespace {

struct Table {
  std::int64_t steps = 10;
  double lr = 0.5, epochs = 0;
  bool flips = true;
  std::string mode = "a";
  std::vector<std::string> packs;
  std::string note;
  Options table = Options("test", "a test");
  Table() {
    table.section("first");
    table.add("steps", &steps, "how many");
    table.add("epochs", &epochs, "or so long");
    table.alternatives("steps", "epochs");
    table.add("lr", &lr, "rate");
    table.add("flips", &flips, "turn");
    table.section("second");
    table.add("mode", &mode, "which");
    table.choices("mode", {"a", "b"});
    table.add("pack", &packs, "files");
    table.add("note", &note, "any text");
  }
  bool parse(const std::vector<std::string>& args) {
    std::ostringstream out;
    const bool go_on = table.parse(args, out);
    help = out.str();
    return go_on;
  }
  std::string help;
};

std::string message(const std::vector<std::string>& args) {
  Table r;
  try {
    r.parse(args);
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::usage);
    return e.what();
  }
  return "no error";
}

TEST(Options, ValuesAreTextsBySection) {
  Table r;
  r.parse({"--steps", "7", "--mode", "b"});
  EXPECT_EQ(r.table.texts("first"),
            (std::map<std::string, std::string>{{"steps", "7"}, {"epochs", "0"}, {"lr", "0.5"}, {"flips", "true"}}));
  EXPECT_EQ(r.table.texts("second").at("mode"), "b");
  EXPECT_THROW(r.table.texts("third"), Error);
}

TEST(Options, AFolderIsNoFileAndAMarkIsNoText) {
  const test::TempFolder folder;
  EXPECT_NE(message({"--config", folder.path()}).find(folder.path() + "/config.cfg"), std::string::npos);
  folder.put("marked.cfg", "\xEF\xBB\xBFsteps = 33\n");
  Table r;
  r.parse({"--config", folder / "marked.cfg"});
  EXPECT_EQ(r.steps, 33);
  EXPECT_NE(message({"--confg", "x"}).find("did you mean --config"), std::string::npos);
  EXPECT_NE(message({"--hlp"}).find("did you mean --help"), std::string::npos);
}

TEST(Options, LaterWins) {
  const test::TempFolder folder;
  std::ofstream(folder / "one.cfg") << "steps = 20\nlr = 0.25 # a comment\nflips = off\npack = x.h5\npack = y.h5\n";
  std::ofstream(folder / "more.cfg") << "note = a=\"1 # one\npack = \"a\"\"b # c\" # d\n";
  Table e;
  e.parse({"--config", folder / "more.cfg"});
  EXPECT_EQ(e.note, "a=\"1");
  EXPECT_EQ(e.packs, (std::vector<std::string>{"a", "b # c"}));
  std::ofstream(folder / "open.cfg") << "pack = a.h5 \"b.h5 c.h5\n";
  EXPECT_NE(message({"--config", folder / "open.cfg"}).find("expected a \" at the end of"), std::string::npos);
  std::ofstream(folder / "two.cfg") << "steps = 30\n";
  Table r;
  EXPECT_TRUE(r.parse({"--lr", "0.125", "--config", folder / "one.cfg", "--config", folder / "two.cfg"}));
  EXPECT_EQ(r.steps, 30);
  EXPECT_EQ(r.lr, 0.125);
  EXPECT_FALSE(r.flips);
  EXPECT_EQ(r.packs, (std::vector<std::string>{"x.h5", "y.h5"}));
  EXPECT_TRUE(r.table.given("lr"));
  EXPECT_FALSE(r.table.given("mode"));
}

TEST(Options, OfTwoAlternativesTheLaterSourceWins) {
  const test::TempFolder folder;
  std::ofstream(folder / "steps.cfg") << "steps = 20\n";
  std::ofstream(folder / "epochs.cfg") << "epochs = 2\n";
  std::ofstream(folder / "run.cfg") << "steps = 7\nepochs = 0\n";
  const auto ends = [&](const std::vector<std::string>& args, std::int64_t steps, double epochs) {
    Table r;
    EXPECT_TRUE(r.parse(args));
    EXPECT_EQ(r.steps, steps);
    EXPECT_EQ(r.epochs, epochs);
  };
  const std::string steps = folder / "steps.cfg", epochs = folder / "epochs.cfg", run = folder / "run.cfg";
  ends({"--config", steps, "--epochs", "3"}, 10, 3);
  ends({"--epochs", "3", "--config", steps}, 10, 3);
  ends({"--config", steps, "--config", epochs}, 10, 2);
  ends({"--config", epochs, "--config", steps}, 20, 0);
  ends({"--config", epochs, "--config", run}, 7, 0);
  ends({"--config", run, "--epochs", "3"}, 10, 3);
  ends({"--config", steps, "--epochs", "0"}, 20, 0);  // says nothing
  ends({"--steps", "4", "--epochs", "3"}, 4, 3);      // the command judges
}

TEST(Options, ResolvedConfigurationRepeatsTheRun) {
  const test::TempFolder folder;
  Table a;
  a.parse({"--steps", "7", "--lr", "1e-4", "--flips=false", "--pack", "my data/p", "q", "--mode", "b"});
  std::ofstream(folder / "config.cfg") << a.table.resolved();
  Table b;
  b.parse({"--config", folder / "config.cfg"});
  EXPECT_EQ(b.steps, 7);
  EXPECT_EQ(b.lr, 1e-4);
  EXPECT_FALSE(b.flips);
  EXPECT_EQ(b.packs, a.packs);
  EXPECT_EQ(b.table.resolved(), a.table.resolved());
  // on one line too, as people write them
  std::ofstream(folder / "line.cfg") << "pack = a.h5 \"my data/b.h5\"  c.h5\npack = d.h5\n";
  Table c;
  c.parse({"--config", folder / "line.cfg"});
  EXPECT_EQ(c.packs, (std::vector<std::string>{"a.h5", "my data/b.h5", "c.h5", "d.h5"}));
}

// Names of files may hold what begins a comment elsewhere.
TEST(Options, AHashWithinAValueIsNoComment) {
  const test::TempFolder folder;
  const std::vector<std::string> packs = {"a#1.h5", "my #2/b.h5", "#3", "plain", "say \"#4\""};
  for (const std::string note : {"run#5", "run #6", "# 7", "\"quoted\"", "two words", ""}) {
    Table a;
    std::vector<std::string> args = {"--note", note, "--pack"};
    args.insert(args.end(), packs.begin(), packs.end());
    a.parse(args);
    std::ofstream(folder / "config.cfg") << a.table.resolved();
    Table b;
    b.parse({"--config", folder / "config.cfg"});
    EXPECT_EQ(b.packs, packs);
    EXPECT_EQ(b.note, note) << a.table.resolved();
  }
  std::ofstream(folder / "by-hand.cfg")
      << "# all of it\nsteps = 3 # three\n\t# nothing\nnote = x#y \t# z\npack = a#b \"c # d\" # e\n";
  Table c;
  c.parse({"--config", folder / "by-hand.cfg"});
  EXPECT_EQ(c.steps, 3);
  EXPECT_EQ(c.note, "x#y");
  EXPECT_EQ(c.packs, (std::vector<std::string>{"a#b", "c # d"}));
  std::ofstream(folder / "quotes.cfg") << "note = 5\" # of an inch\npack = \"x\\\\\" # a backslash\npack =\"#\"\n";
  Table d;
  d.parse({"--config", folder / "quotes.cfg"});
  EXPECT_EQ(d.note, "5\"");
  EXPECT_EQ(d.packs, (std::vector<std::string>{"x\\", "#"}));
  std::ofstream(folder / "two.cfg") << "note = \"a\" b\n";
  EXPECT_NE(message({"--config", folder / "two.cfg"}).find("expected one value"), std::string::npos);
}

TEST(Options, ErrorsNameTheNearestKeyAndTheExpectedValue) {
  EXPECT_NE(message({"--stps", "4"}).find("did you mean --steps"), std::string::npos) << message({"--stps", "4"});
  EXPECT_NE(message({"--steps", "four"}).find("expected a whole number, got 'four'"), std::string::npos);
  EXPECT_NE(message({"--mode", "c"}).find("expected one of a, b"), std::string::npos);
  EXPECT_NE(message({"--config", "/does/not/exist"}).find("/does/not/exist"), std::string::npos);
  EXPECT_NE(message({"stray"}).find("stray"), std::string::npos);
  EXPECT_NE(message({"--flips=maybe"}).find("true or false"), std::string::npos);
  EXPECT_NE(message({"--step", "4"}).find("did you mean"), std::string::npos) << "abbreviations are not accepted";
  const test::TempFolder folder;
  std::ofstream(folder / "bad.cfg") << "stpes = 4\n";
  EXPECT_NE(message({"--config", folder / "bad.cfg"}).find("bad.cfg"), std::string::npos);
}

TEST(Options, RequiredAndHelp) {
  Table r;
  r.table.require("pack");
  EXPECT_THROW(r.parse({}), Error);
  Table h;
  EXPECT_FALSE(h.parse({"--help"}));
  EXPECT_NE(h.help.find("--steps"), std::string::npos);
  EXPECT_NE(h.help.find("[10]"), std::string::npos) << "defaults are shown";
}

}  // namespace
}  // namespace spn::cli
