"""core_library(): a library of core, in two builds.

`name` is the one to use. `name_hooked`, for tests only, is the same with pause
hooks (core/pause.h): a binary has the one or the other, all of it; with both it
does not link (core/pause.cc).
"""

def core_library(name, deps = [], own_deps = [], **kwargs):
    """A cc_library, and its hooked twin.

    Args:
      name: of the plain one.
      deps: libraries from elsewhere, the same for both.
      own_deps: other libraries made with core_library(), as ":name".
      **kwargs: cc_library's.
    """
    native.cc_library(
        name = name,
        deps = own_deps + deps,
        **kwargs
    )
    native.cc_library(
        name = name + "_hooked",
        testonly = True,
        defines = ["WAITQ_PAUSE_HOOKS"],
        deps = [dep + "_hooked" for dep in own_deps] + deps,
        **kwargs
    )
