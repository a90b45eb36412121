# cottar for NixOS:
#
#   imports = [ ./dist/nix/module.nix ];
#   services.cottar = {
#     enable = true;
#     settings = { bind = "192.0.2.1"; retry_join = [ "192.0.2.2" ]; };
#   };
{
  config,
  lib,
  pkgs,
  ...
}:

let
  cfg = config.services.cottar;
  json = pkgs.formats.json { };
in
{
  options.services.cottar = {
    enable = lib.mkEnableOption "cottar, a cluster agent that runs event handlers";

    package = lib.mkOption {
      type = lib.types.package;
      default = pkgs.callPackage ./package.nix { };
      description = "The cottar to run.";
    };

    settings = lib.mkOption {
      type = json.type;
      default = { };
      description = "The configuration, as cottar.conf(5) describes it, over the defaults of this module.";
    };

    handlers = lib.mkOption {
      type = lib.types.attrsOf lib.types.path;
      default = { };
      description = "Handlers: executable files with header lines, as cottar-handler(7) describes them.";
    };

    openFirewall = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = "Whether to open the port of gossip, 7946.";
    };

    path = lib.mkOption {
      type = lib.types.listOf lib.types.package;
      default = [ ];
      description = "Packages whose programs the handlers use.";
    };
  };

  config = lib.mkIf cfg.enable {
    # As those of a fresh install elsewhere: nobody can reach it before it is told to be a node.
    services.cottar.settings = lib.mapAttrs (_: lib.mkDefault) {
      bind = "127.0.0.1";
      rpc_addr = [ "unix:/run/cottar/rpc.sock" ];
      handler_dirs = lib.optional (cfg.handlers != { }) "/etc/cottar/handlers.d";
      snapshot_path = "/var/lib/cottar/snapshot";
      journal = "/var/lib/cottar/journal";
      leave_on_terminate = true;
      rejoin_after_leave = true;
    };

    environment.systemPackages = [ cfg.package ];
    environment.etc = {
      "cottar/cottar.json".source = json.generate "cottar.json" cfg.settings;
    }
    // lib.mapAttrs' (name: source: lib.nameValuePair "cottar/handlers.d/${name}" { inherit source; }) cfg.handlers;

    users.users.cottar = {
      isSystemUser = true;
      group = "cottar";
      home = "/var/lib/cottar";
    };
    users.groups.cottar = { };

    networking.firewall = lib.mkIf cfg.openFirewall {
      allowedTCPPorts = [ 7946 ];
      allowedUDPPorts = [ 7946 ];
    };

    # dist/systemd/cottar.service says why each line is there.
    systemd.services.cottar = {
      description = "Cluster agent with event handlers";
      wantedBy = [ "multi-user.target" ];
      wants = [ "network-online.target" ];
      after = [ "network-online.target" ];
      path = [ pkgs.bash ] ++ cfg.path;
      reloadTriggers = [ config.environment.etc."cottar/cottar.json".source ];
      startLimitIntervalSec = 0;
      serviceConfig = {
        Type = "notify";
        ExecStart = "${lib.getExe cfg.package} agent -config-dir /etc/cottar";
        ExecReload = "${pkgs.coreutils}/bin/kill -HUP $MAINPID";
        KillSignal = "SIGINT";
        KillMode = "mixed";
        TimeoutStopSec = 30;
        Restart = "on-failure";
        RestartSec = 5;
        User = "cottar";
        Group = "cottar";
        StateDirectory = "cottar";
        StateDirectoryMode = "0750";
        WorkingDirectory = "%S/cottar";
        RuntimeDirectory = "cottar";
        RuntimeDirectoryMode = "0755";
        UMask = "0027";
        NoNewPrivileges = true;
        CapabilityBoundingSet = "";
        AmbientCapabilities = "";
        ProtectSystem = "full";
        ProtectHome = "read-only";
        PrivateTmp = true;
        PrivateDevices = true;
        ProtectKernelTunables = true;
        ProtectKernelModules = true;
        ProtectKernelLogs = true;
        ProtectControlGroups = true;
        ProtectClock = true;
        ProtectHostname = true;
        RestrictAddressFamilies = [
          "AF_UNIX"
          "AF_INET"
          "AF_INET6"
          "AF_NETLINK"
        ];
        RestrictNamespaces = true;
        RestrictRealtime = true;
        RestrictSUIDSGID = true;
        LockPersonality = true;
        RemoveIPC = true;
        SystemCallArchitectures = "native";
        SystemCallFilter = "@system-service";
        SystemCallErrorNumber = "EPERM";
      };
    };
  };
}
