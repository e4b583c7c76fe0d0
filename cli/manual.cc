#include "cli/manual.h"

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"

namespace waitq::cli {
namespace {

// As text, not as what troff would take it for: "-" would be a hyphen, and a
// line that begins with a dot a request.
std::string Escaped(const std::string& text) {
  std::string escaped = absl::StrReplaceAll(
      text,
      {{"\\", "\\e"}, {"-", "\\-"}, {"\n.", "\n\\&."}, {"\n'", "\n\\&'"}});
  if (absl::StartsWith(escaped, ".") || absl::StartsWith(escaped, "'")) {
    escaped.insert(0, "\\&");
  }
  return escaped;
}

std::string Bold(const std::string& text) {
  return absl::StrCat("\\fB", Escaped(text), "\\fR");
}

std::string Italic(const std::string& text) {
  return absl::StrCat("\\fI", Escaped(text), "\\fR");
}

// Lines as they are.
std::string Verbatim(const std::string& text) {
  return absl::StrCat(".PP\n.nf\n", Escaped(text), "\n.fi\n");
}

std::string ValueName(const CLI::Option& option) {
  const std::string type = option.get_type_name();
  return type.empty() ? "VALUE" : type;
}

bool TakesValue(const CLI::Option& option) {
  return option.get_items_expected_max() > 0;
}

// "-s, --signal SIG".
std::string Heading(const CLI::Option& option) {
  if (option.get_positional()) return Italic(option.get_name(true));
  std::vector<std::string> names;
  for (const std::string& name : option.get_snames()) {
    names.push_back(Bold("-" + name));
  }
  for (const std::string& name : option.get_lnames()) {
    names.push_back(Bold("--" + name));
  }
  std::string heading = absl::StrJoin(names, ", ");
  if (TakesValue(option)) {
    absl::StrAppend(&heading, " ", Italic(ValueName(option)));
  }
  return heading;
}

std::string Entry(const CLI::Option& option) {
  std::string text = Escaped(option.get_description());
  if (!text.empty() && text.back() != '.') text += ".";
  if (!option.get_default_str().empty()) {
    absl::StrAppend(&text, " Default: ", Escaped(option.get_default_str()),
                    ".");
  }
  if (!option.get_envname().empty()) {
    absl::StrAppend(&text, " Environment: ", Bold(option.get_envname()), ".");
  }
  return absl::StrCat(".TP\n", Heading(option), "\n", text, "\n");
}

std::string Entries(const CLI::App& app, bool help) {
  std::string text;
  for (const CLI::Option* option : app.get_options()) {
    if (!help && option->check_name("--help")) continue;
    text += Entry(*option);
  }
  return text;
}

// "waitq wait NAME [options]".
std::string Synopsis(const std::string& program, const CLI::App& app) {
  std::string line = Bold(program);
  bool has_options = false;
  std::string positionals;
  for (const CLI::Option* option : app.get_options()) {
    if (!option->get_positional()) {
      has_options |= !option->check_name("--help");
      continue;
    }
    std::string word = Italic(option->get_name(true));
    if (option->get_items_expected_max() > 1) word += "...";
    if (!option->get_required()) word = absl::StrCat("[", word, "]");
    absl::StrAppend(&positionals, " ", word);
  }
  if (has_options) absl::StrAppend(&line, " [", Italic("options"), "]");
  return line + positionals;
}

std::string Command(const std::string& program, const CLI::App& command) {
  std::string text = absl::StrCat(
      ".SS ", Synopsis(absl::StrCat(program, " ", command.get_name()), command),
      "\n", Escaped(command.get_description()), ".\n",
      Entries(command, /*help=*/false));
  if (!command.get_footer().empty()) text += Verbatim(command.get_footer());
  return text;
}

}  // namespace

std::string ManualPage(const CLI::App& app, const ManualOptions& options) {
  const std::string program = app.get_name();
  std::string summary = app.get_description();
  if (absl::EndsWith(summary, ".")) summary.pop_back();
  std::string page =
      absl::StrCat(".TH ", absl::AsciiStrToUpper(program), " ", options.section,
                   " \"\" waitq\n.SH NAME\n", program, " \\- ",
                   Escaped(summary), "\n.SH SYNOPSIS\n");
  const std::vector<const CLI::App*> commands = app.get_subcommands(nullptr);
  if (commands.empty()) {
    absl::StrAppend(&page, Synopsis(program, app), "\n");
  } else {
    absl::StrAppend(&page, Bold(program), " [", Italic("options"), "] ",
                    Italic("command"), " ...\n");
  }
  absl::StrAppend(&page, ".SH DESCRIPTION\n");
  for (const std::string& paragraph : options.description) {
    absl::StrAppend(&page, ".PP\n", Escaped(paragraph), "\n");
  }
  absl::StrAppend(&page, ".SH OPTIONS\n", Entries(app, /*help=*/true));
  if (!commands.empty()) page += ".SH COMMANDS\n";
  for (const CLI::App* command : commands) {
    if (!command->get_group().empty()) page += Command(program, *command);
  }
  if (!app.get_footer().empty()) {
    absl::StrAppend(&page, ".SH EXAMPLES AND EXIT STATUS\n",
                    Verbatim(app.get_footer()));
  }
  if (!options.see_also.empty()) {
    absl::StrAppend(&page, ".SH SEE ALSO\n",
                    Escaped(absl::StrJoin(options.see_also, ", ")), "\n");
  }
  return page;
}

}  // namespace waitq::cli
