"""A library from a Debian package: headers in /usr/include, only linking is left."""

def debian_library(name, libs = [], keep = False, **kwargs):
    """Declares a cc_library that links shared or static libraries of the system.

    Args:
      name: of the target.
      libs: what follows -l, in link order. List each one whose symbols the
        headers use inline: the linker takes nothing from a library's own
        dependencies ("DSO missing from command line").
      keep: link it even if nothing refers to it (libraries that work by
        registering themselves).
      **kwargs: of cc_library.
    """
    linkopts = kwargs.pop("linkopts", [])
    if libs:
        # Bazel passes -no-as-needed for the whole link; without this, every
        # binary would load every library of its transitive dependencies.
        linkopts = linkopts + [",".join(
            ["-Wl", "--push-state", "--no-as-needed" if keep else "--as-needed"] +
            ["-l" + lib for lib in libs] +
            ["--pop-state"],
        )]
    native.cc_library(
        name = name,
        linkopts = linkopts,
        **kwargs
    )
