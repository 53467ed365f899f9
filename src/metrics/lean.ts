/**
 * The lean set: what a site with thousands of nodes keeps of each, 40 series at most. Asked for by the scraper
 * (/metrics?set=lean), so nothing is configured on nodes, and one of them can be looked at in full at any time.
 */
export const leanNames: readonly string[] = [
  "process_cpu_seconds_total",
  "process_resident_memory_bytes",
  "process_start_time_seconds",
  "sublet_controllers_connected",
  "sublet_cores",
  "sublet_memory_bytes",
  "sublet_lending_mode",
  "sublet_node_pressure_seconds_total",
  "sublet_leases",
  "sublet_lease_core_seconds_total",
  "sublet_lease_byte_seconds_total",
  "sublet_lease_grants_total",
  "sublet_reclaims_total",
  "sublet_guard_guests",
  "sublet_guard_alarms_total",
  "sublet_usage_lost_records_total",
  "sublet_config_reloads_total",
  "sublet_agents",
  "sublet_snapshot_age_seconds",
  "sublet_cluster_cores",
  "sublet_cluster_memory_bytes",
  "sublet_cluster_leases",
  "sublet_accounting_database_up",
];
