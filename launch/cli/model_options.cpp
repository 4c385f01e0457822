#include "launch/cli/model_options.h"

namespace spn::cli {
namespace {

struct Adder final : models::FieldVisitor {
  explicit Adder(Options& o) : options(o) {}
  Options& options;
  void field(const char* key, std::int64_t& v, const char* help) override { options.add(key, &v, help); }
  void field(const char* key, double& v, const char* help) override { options.add(key, &v, help); }
  void field(const char* key, bool& v, const char* help) override { options.add(key, &v, help); }
  void field(const char* key, std::string& v, const char* help) override { options.add(key, &v, help); }
};

}  // namespace

void add_model_options(Options& options, models::Config& config) {
  options.section("model (configs/model/*.cfg)");
  Adder adder(options);
  models::visit_fields(config, adder);
}

}  // namespace spn::cli
