#include "tools/ctl/completion.h"

#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <memory>
#include <string_view>
#include <vector>

#include "tools/ctl/command.h"

namespace ringtalk::ctl {

namespace {

constexpr std::string_view kHead = R"(# bash completion for {0}. Made by `{0} completion bash`.
_{0}() {{
  local cur=${{COMP_WORDS[COMP_CWORD]}} prev=${{COMP_WORDS[COMP_CWORD-1]}} path='' words='' files='' i
  COMPREPLY=()
  for ((i = 1; i < COMP_CWORD; i++)); do
    case "$path ${{COMP_WORDS[i]}}" in
{1}      {2}) ((i++)) ;;
    esac
  done
)";

constexpr std::string_view kTail = R"(  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$cur")
  if [[ $files && $cur != -* ]]; then
    compopt -o filenames 2>/dev/null
    mapfile -t -O "${{#COMPREPLY[@]}}" COMPREPLY < <(compgen "-$files" -- "$cur")
  fi
}}
complete -F _{0} {0}
)";

bool is_shown(const CLI::Option& option) { return !option.get_group().empty(); }
bool takes_value(const CLI::Option& option) { return option.get_items_expected_max() > 0; }

std::vector<const CLI::App*> verbs_of(const CLI::App& app) {
  auto all = app.get_subcommands([](const CLI::App* verb) { return !verb->get_group().empty(); });
  return {all.begin(), all.end()};
}

// "--http", …; nothing for positionals.
std::vector<std::string> names_of(const CLI::Option& option) {
  std::vector<std::string> out;
  for (const std::string& name : option.get_lnames()) out.push_back("--" + name);
  for (const std::string& name : option.get_snames()) out.push_back("-" + name);
  return out;
}

// "f" files, "d" directories, "" neither.
std::string_view file_kind(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  return type == "FILE" ? "f" : type == "DIR" ? "d" : "";
}

// The words of a fixed set: CLI11 puts them into the type name, as TEXT:{a,b}.
std::string choices_of(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  const size_t open      = type.find('{');
  const size_t close     = type.find('}', open);
  if (open == std::string::npos || close == std::string::npos) return {};
  std::string words = type.substr(open + 1, close - open - 1);
  std::ranges::replace(words, ',', ' ');
  return words;
}

class Script {
 public:
  explicit Script(const CLI::App& app) : name_(app.get_name()) { walk(app, app, ""); }

  std::string text() const {
    std::string waiting;
    for (const std::string& option : with_value_)
      waiting += fmt::format("{}*' {}'", waiting.empty() ? "" : "|", option);
    return fmt::format(fmt::runtime(kHead), name_, paths_, waiting) + "  case \"$path\" in\n" +
           words_ + "  esac\n  case \"$path $prev\" in\n" + values_ + "  esac\n" +
           fmt::format(fmt::runtime(kTail), name_);
  }

 private:
  void walk(const CLI::App& root, const CLI::App& app, const std::string& path) {
    std::string words, files;
    for (const CLI::App* verb : verbs_of(app)) {
      words += verb->get_name() + " ";
      const std::string below = path.empty() ? verb->get_name() : path + " " + verb->get_name();
      paths_ += fmt::format("      '{} {}') path='{}' ;;\n", path, verb->get_name(), below);
    }
    add_options(app, path, words, files);
    if (&app != &root) add_options(root, "*", words, files);  // they are good behind a verb, too
    words_ += fmt::format("    '{}') words='{}' files='{}' ;;\n", path,
                          words.substr(0, words.find_last_not_of(' ') + 1), files);
    for (const CLI::App* verb : verbs_of(app))
      walk(root, *verb, path.empty() ? verb->get_name() : path + " " + verb->get_name());
  }

  void add_options(const CLI::App& app, const std::string& path, std::string& words,
                   std::string& files) {
    for (const CLI::Option* option : app.get_options()) {
      if (!is_shown(*option)) continue;
      const std::string choices = choices_of(*option);
      if (option->get_positional() && path != "*") {
        files = file_kind(*option);
        if (!choices.empty()) words += choices + " ";
      }
      for (const std::string& name : names_of(*option)) {
        const bool known = words.find(name + " ") != std::string::npos;
        if (!known) words += name + " ";
        if (takes_value(*option) && !known) add_value(*option, path, name, choices);
      }
    }
  }

  void add_value(const CLI::Option& option, const std::string& path, const std::string& name,
                 const std::string& choices) {
    if (std::ranges::find(with_value_, name) == with_value_.end()) with_value_.push_back(name);
    const std::string pattern =
        path == "*" ? fmt::format("*' {}'", name) : fmt::format("'{} {}'", path, name);
    const std::string line =
        fmt::format("    {}) words='{}' files='{}' ;;\n", pattern, choices, file_kind(option));
    if (values_.find(line) == std::string::npos) values_ += line;
  }

  const std::string name_;
  std::string paths_;
  std::string words_;
  std::string values_;
  std::vector<std::string> with_value_;
};

}  // namespace

std::string bash_completion(const CLI::App& app) { return Script(app).text(); }

void add_completion_command(CLI::App& app, Context& context) {
  CLI::App* completion =
      app.add_subcommand("completion", "a completion script for a shell")->group("");
  completion  // there is one shell, so nobody need remember its name
      ->add_option_function<std::string>(
          "SHELL", [](const std::string&) {}, "which shell")
      ->check(CLI::IsMember({"bash"}))
      ->required();
  completion->callback([&app, &context] {
    context.run = [&app] {
      fmt::print("{}", bash_completion(app));
      return kExitOk;
    };
  });
}

}  // namespace ringtalk::ctl
