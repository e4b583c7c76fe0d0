"""cc_grpc_library: the C++ stubs of the services in a proto_library."""

def _import_path(src, root):
    """The path under which other .proto files import src."""
    for prefix in [root, src.root.path]:
        if prefix and prefix != "." and src.path.startswith(prefix + "/"):
            return src.path[len(prefix) + 1:]
    return src.path

def _grpc_codegen_impl(ctx):
    hdrs = []
    ccs = []
    for target in ctx.attr.srcs:
        info = target[ProtoInfo]
        paths = [_import_path(src, info.proto_source_root) for src in info.direct_sources]
        outs = []
        out_root = None
        for path in paths:
            # Below a folder of our own, so that the include path is the import
            # path, whatever strip_import_prefix the proto_library has.
            header = path[:-len(".proto")] + ".grpc.pb.h"
            source = path[:-len(".proto")] + ".grpc.pb.cc"
            hdrs.append(ctx.actions.declare_file(ctx.attr.out_dir + "/" + header))
            ccs.append(ctx.actions.declare_file(ctx.attr.out_dir + "/" + source))
            outs += [hdrs[-1], ccs[-1]]
            out_root = hdrs[-1].path[:-len("/" + header)]

        args = ctx.actions.args()
        args.add(ctx.executable._plugin, format = "--plugin=protoc-gen-grpc=%s")
        args.add(out_root, format = "--grpc_out=%s")
        args.add_all(info.transitive_proto_path, format_each = "--proto_path=%s")
        args.add_all(paths)
        ctx.actions.run(
            executable = ctx.executable._protoc,
            tools = [ctx.executable._plugin],
            inputs = info.transitive_sources,
            outputs = outs,
            arguments = [args],
            mnemonic = "GrpcGenerate",
            progress_message = "Generating gRPC stubs of %{label}",
        )
    return [
        DefaultInfo(files = depset(hdrs + ccs)),
        OutputGroupInfo(hdrs = depset(hdrs), ccs = depset(ccs)),
    ]

_grpc_codegen = rule(
    implementation = _grpc_codegen_impl,
    attrs = {
        "out_dir": attr.string(mandatory = True),
        "srcs": attr.label_list(mandatory = True, providers = [ProtoInfo]),
        "_plugin": attr.label(
            cfg = "exec",
            default = "@com_github_grpc_grpc//:grpc_cpp_plugin",
            executable = True,
        ),
        "_protoc": attr.label(
            cfg = "exec",
            default = "@com_google_protobuf//:protoc",
            executable = True,
        ),
    },
)

def cc_grpc_library(name, srcs, deps, **kwargs):
    """A cc_library with the generated *.grpc.pb.h and *.grpc.pb.cc.

    Args:
      name: of the cc_library.
      srcs: proto_library targets, whose services are generated.
      deps: the cc_proto_library targets of srcs.
      **kwargs: of cc_library (visibility, testonly, tags).
    """
    out_dir = name + "_grpc"
    codegen = name + "_codegen"
    common = {k: v for k, v in kwargs.items() if k in ["tags", "testonly"]}
    _grpc_codegen(
        name = codegen,
        out_dir = out_dir,
        srcs = srcs,
        visibility = ["//visibility:private"],
        **common
    )
    for group in ["hdrs", "ccs"]:
        native.filegroup(
            name = codegen + "_" + group,
            srcs = [codegen],
            output_group = group,
            visibility = ["//visibility:private"],
            **common
        )
    native.cc_library(
        name = name,
        srcs = [codegen + "_ccs"],
        hdrs = [codegen + "_hdrs"],
        includes = [out_dir],
        deps = deps + ["//third_party/grpc:grpc++"],
        **kwargs
    )
