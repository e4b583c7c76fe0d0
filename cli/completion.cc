#include "cli/completion.h"

#include <algorithm>
#include <cstddef>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace waitq::cli {
namespace {

bool IsOption(const std::string& word) {
  return word.size() > 1 && word.front() == '-';
}

bool TakesValue(const CLI::Option& option) {
  return option.get_items_expected_max() > 0;
}

// What a reader of the words before the last one knows.
class Reader {
 public:
  explicit Reader(const CLI::App& app) : app_(app), command_(&app) {}

  void Read(const std::string& word) {
    if (pending_ != nullptr) {
      if (word == "=") return;  // bash makes it a word of its own
      values_.push_back({pending_, word});
      pending_ = nullptr;
    } else if (only_positionals_) {
      ++positionals_;
    } else if (word == "--") {
      only_positionals_ = true;
    } else if (IsOption(word)) {
      ReadOption(word);
    } else if (const CLI::App* command = FindCommand(word)) {
      command_ = command;
    } else {
      ++positionals_;
    }
  }

  Completion Finish(const std::string& typed) const {
    Completion result;
    result.command = command_;
    if (pending_ != nullptr) {
      result.value = pending_;
      result.typed = typed == "=" ? "" : typed;
      return result;
    }
    result.typed = typed;
    if (!only_positionals_ && absl::StartsWith(typed, "-")) {
      AddOptions(*command_, result);
      if (command_ != &app_) AddOptions(app_, result);
    } else if (HasCommands()) {
      AddCommands(result);
    } else {
      result.value = Positional();
    }
    return result;
  }

  std::string ValueOf(const std::string& name) const {
    std::string last;
    for (const Value& value : values_) {
      if (value.option->check_name(name)) last = value.text;
    }
    return last;
  }

 private:
  struct Value {
    const CLI::Option* option;
    std::string text;
  };

  void ReadOption(const std::string& word) {
    const size_t equals = word.find('=');
    const CLI::Option* option = FindOption(word.substr(0, equals));
    if (option == nullptr || !TakesValue(*option)) return;
    if (equals == std::string::npos) {
      pending_ = option;
    } else {
      values_.push_back({option, word.substr(equals + 1)});
    }
  }

  const CLI::Option* FindOption(const std::string& name) const {
    for (const CLI::App* app : {command_, &app_}) {
      for (const CLI::Option* option : app->get_options()) {
        if (!option->get_positional() && option->check_name(name)) {
          return option;
        }
      }
    }
    return nullptr;
  }

  // Only the first word that is no option names a command.
  bool HasCommands() const {
    return command_ == &app_ && !app_.get_subcommands(nullptr).empty();
  }

  const CLI::App* FindCommand(const std::string& name) const {
    if (!HasCommands()) return nullptr;
    for (const CLI::App* command : app_.get_subcommands(nullptr)) {
      if (command->check_name(name)) return command;
    }
    return nullptr;
  }

  // The positional argument that comes next; the last one may take many.
  const CLI::Option* Positional() const {
    size_t left = positionals_;
    for (const CLI::Option* option : command_->get_options()) {
      if (!option->get_positional()) continue;
      if (left < static_cast<size_t>(option->get_items_expected_max())) {
        return option;
      }
      left -= static_cast<size_t>(option->get_items_expected_max());
    }
    return nullptr;
  }

  static void AddOptions(const CLI::App& app, Completion& result) {
    for (const CLI::Option* option : app.get_options()) {
      for (const std::string& name : option->get_lnames()) {
        Add({absl::StrCat("--", name), option->get_description()}, result);
      }
    }
  }

  void AddCommands(Completion& result) const {
    for (const CLI::App* command : app_.get_subcommands(nullptr)) {
      // Without a group it is hidden.
      if (command->get_group().empty()) continue;
      Add({command->get_name(), command->get_description()}, result);
    }
  }

  static void Add(const Candidate& candidate, Completion& result) {
    if (!absl::StartsWith(candidate.word, result.typed)) return;
    const bool known = std::any_of(
        result.candidates.begin(), result.candidates.end(),
        [&](const Candidate& other) { return other.word == candidate.word; });
    if (!known) result.candidates.push_back(candidate);
  }

  const CLI::App& app_;
  const CLI::App* command_;
  const CLI::Option* pending_ = nullptr;  // its value is the next word
  bool only_positionals_ = false;         // there was a --
  size_t positionals_ = 0;
  std::vector<Value> values_;
};

Reader ReadAllButLast(const CLI::App& app,
                      const std::vector<std::string>& words) {
  Reader reader(app);
  for (size_t i = 0; i + 1 < words.size(); ++i) reader.Read(words[i]);
  return reader;
}

}  // namespace

Completion Complete(const CLI::App& app,
                    const std::vector<std::string>& words) {
  return ReadAllButLast(app, words).Finish(words.empty() ? "" : words.back());
}

std::string ValueOf(const CLI::App& app, const std::vector<std::string>& words,
                    const std::string& name) {
  return ReadAllButLast(app, words).ValueOf(name);
}

}  // namespace waitq::cli
