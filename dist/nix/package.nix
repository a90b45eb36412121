# cottar for Nix: `pkgs.callPackage ./dist/nix/package.nix { }` in a tree of the sources.
{
  lib,
  rustPlatform,
  features ? [
    "mdns"
    "syslog"
    "telemetry"
  ],
}:

let
  root = ../..;
  manifest = builtins.fromTOML (builtins.readFile (root + "/Cargo.toml"));
in
rustPlatform.buildRustPackage {
  pname = "cottar";
  inherit (manifest.package) version;

  src = lib.cleanSource root;
  cargoLock.lockFile = root + "/Cargo.lock";
  buildNoDefaultFeatures = true;
  buildFeatures = features;

  # What needs no agents and no clusters.
  cargoTestFlags = [
    "--lib"
    "--bins"
    "--test=vectors"
    "--test=rpc"
  ];

  # The module has a service and a configuration of its own.
  postInstall = ''
    make install-manual install-completions install-documents PREFIX=$out
  '';

  meta = {
    inherit (manifest.package) description;
    license = lib.licenses.mit;
    mainProgram = "cottar";
    platforms = lib.platforms.linux;
  };
}
