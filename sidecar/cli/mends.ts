/** What to do about each code that can reach a user of the CLI. */
const MENDS: Readonly<Record<string, string>> = {
  no_config: 'agnt2 init',
  bad_config: 'edit the file as said; docs/cli.md explains every setting',
  gateway_unavailable: "start the gateway (agnt2 up), or set 'gateway' in the config to the one you mean",
  not_running: 'agnt2 sidecar, or agnt2 run -- CMD',
  not_ready: 'agnt2 doctor',
  wrong_key: "point 'keyFile' at the agent's own key, or have its owner rotate it",
  network_changed: "set 'gateway' back, or give the new network a 'stateDir' of its own",
  unknown_agent: 'agnt2 init, which finds or registers the agent of this key',
  unknown_name: 'check the name: GET /directory of the gateway lists all',
  unknown_service: 'the peer offers nothing: ask its operator whether its sidecar runs',
  agent_offline: "the peer's sidecar is not connected: try again later, or ask its operator",
  insufficient_balance: 'agnt2 deposit AMOUNT',
  ...Object.fromEntries(
    ['over_call_cap', 'over_hour_cap', 'over_day_cap', 'over_peer_cap', 'over_service_cap', 'over_new_peer_cap'].map(
      (code) => [code, "raise it in 'policy' of the config: the app can't, and neither can this command"],
    ),
  ),
  approval_needed: 'agnt2 approve list, then agnt2 approve grant ID',
  price_rise: 'agnt2 approve prices, then agnt2 approve accept SERVICE',
  unknown_approval: 'agnt2 approve list',
  over_price: 'give a greater --max, if the price is right',
  name_taken: "choose another 'name' in the config",
  unknown_session: 'agnt2 session list',
  busy: 'try again in a moment',
};

export const mendOf = (code: string): string | undefined => MENDS[code];
