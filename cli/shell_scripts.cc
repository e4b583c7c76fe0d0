#include "cli/shell_scripts.h"

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"

namespace waitq::cli {
namespace {

constexpr char kBash[] =
    R"sh(# bash completion of @PROGRAM@: source <(@PROGRAM@ shell-completion bash)
_@PROGRAM@_complete() {
  local line=${COMP_LINE:0:COMP_POINT} words word answer
  read -ra words <<<"$line"
  if [[ $line == *[[:space:]] ]]; then words+=(""); fi
  COMPREPLY=()
  answer=$("${words[0]}" __complete "${words[@]:1}" 2>/dev/null)
  word=${words[-1]}
  if [[ $answer == @FILES@ ]]; then
    compopt -o filenames 2>/dev/null
    mapfile -t COMPREPLY < <(compgen -f -- "$word")
    return
  fi
  mapfile -t COMPREPLY < <(cut -f1 <<<"$answer")
  if [[ -z $answer ]]; then COMPREPLY=(); fi
}
complete -F _@PROGRAM@_complete @PROGRAM@
)sh";

constexpr char kZsh[] = R"sh(#compdef @PROGRAM@
# zsh completion of @PROGRAM@: source <(@PROGRAM@ shell-completion zsh), or a
# file _@PROGRAM@ in a folder of $fpath.
_@PROGRAM@() {
  local answer line
  local -a candidates
  answer=$("${words[1]}" __complete "${(@)words[2,CURRENT-1]}" "$PREFIX" 2>/dev/null)
  if [[ $answer == @FILES@ ]]; then
    _files
    return
  fi
  for line in ${(f)answer}; do
    candidates+=("${${line%%$'\t'*}//:/\\:}:${line#*$'\t'}")
  done
  _describe @PROGRAM@ candidates
}
if [[ $funcstack[1] == _@PROGRAM@ ]]; then
  _@PROGRAM@ "$@"
else
  compdef _@PROGRAM@ @PROGRAM@
fi
)sh";

constexpr char kFish[] =
    R"sh(# fish completion of @PROGRAM@: @PROGRAM@ shell-completion fish | source
function __@PROGRAM@_complete
    set -l words (commandline -opc) (commandline -ct)
    set -l answer ($words[1] __complete $words[2..-1] 2>/dev/null)
    if test "$answer" = @FILES@
        __fish_complete_path (commandline -ct)
    else
        printf '%s\n' $answer
    end
end
complete -c @PROGRAM@ -f -a '(__@PROGRAM@_complete)'
)sh";

}  // namespace

absl::StatusOr<std::string> CompletionScript(const std::string& shell,
                                             const std::string& program) {
  const char* script = shell == "bash"   ? kBash
                       : shell == "zsh"  ? kZsh
                       : shell == "fish" ? kFish
                                         : nullptr;
  if (script == nullptr) {
    return absl::InvalidArgumentError(absl::StrCat(
        "'", absl::CHexEscape(shell), "' is not bash, zsh or fish"));
  }
  return absl::StrReplaceAll(script,
                             {{"@PROGRAM@", program}, {"@FILES@", kFilesWord}});
}

}  // namespace waitq::cli
