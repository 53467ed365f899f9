/**
 * The messages of proto/sublet/v1 as TypeScript sees them after decoding: camelCase, 64-bit numbers as number,
 * enums as strings, unset messages as null, bytes as Buffer. test/unit/rpc/messages.test.ts compares this file
 * with the .proto files field by field.
 */

export type CapacityClassName =
  | "CAPACITY_CLASS_UNSPECIFIED"
  | "CAPACITY_CLASS_IDLE"
  | "CAPACITY_CLASS_UNALLOCATED"
  | "CAPACITY_CLASS_SHARED";

export type LeaseKindName = "LEASE_KIND_UNSPECIFIED" | "LEASE_KIND_FUNCTION" | "LEASE_KIND_REGION";

export type LeaseStateName =
  | "LEASE_STATE_UNSPECIFIED"
  | "LEASE_STATE_REQUESTED"
  | "LEASE_STATE_GRANTED"
  | "LEASE_STATE_ACTIVE"
  | "LEASE_STATE_DRAINING"
  | "LEASE_STATE_RELEASED"
  | "LEASE_STATE_EXPIRED"
  | "LEASE_STATE_REVOKED";

export type ReasonName =
  | "REASON_UNSPECIFIED"
  | "REASON_RELEASED"
  | "REASON_TERM_ENDED"
  | "REASON_BATCH_JOB"
  | "REASON_ADMIN"
  | "REASON_EXECUTOR_LOST"
  | "REASON_AGENT_RESTART"
  | "REASON_NO_CORES"
  | "REASON_NO_MEMORY"
  | "REASON_CLOSED"
  | "REASON_START_FAILED"
  | "REASON_GUARD"
  | "REASON_QUOTA";

export type UsageGroupName =
  | "USAGE_GROUP_UNSPECIFIED"
  | "USAGE_GROUP_USER"
  | "USAGE_GROUP_ACCOUNT"
  | "USAGE_GROUP_DAY";

export type ReclaimModeName = "RECLAIM_MODE_UNSPECIFIED" | "RECLAIM_MODE_IMMEDIATE" | "RECLAIM_MODE_GRACEFUL";

export type HookEventName =
  | "HOOK_EVENT_UNSPECIFIED"
  | "HOOK_EVENT_PROLOG"
  | "HOOK_EVENT_EPILOG"
  | "HOOK_EVENT_STEP";

export type ConsentName = "CONSENT_UNSPECIFIED" | "CONSENT_SHARE" | "CONSENT_NO";

export type DurabilityName =
  | "DURABILITY_UNSPECIFIED"
  | "DURABILITY_EPHEMERAL"
  | "DURABILITY_EVACUATED"
  | "DURABILITY_MIRRORED";

export type LendingName =
  | "LENDING_UNSPECIFIED"
  | "LENDING_ON"
  | "LENDING_SHADOW"
  | "LENDING_HOLD_OUT"
  | "LENDING_DRAINED";

// types.proto

export interface SpareMessage {
  class: CapacityClassName;
  cores: number[];
  memoryBytes: number;
}

export interface SpellMessage {
  class: CapacityClassName;
  ageMs: number;
  begunSeen: boolean;
  arrivals: number;
}

export interface OfferMessage {
  node: string;
  revision: number;
  epochUnixMs: number;
  address: string;
  spare: SpareMessage[];
  horizonMs: number;
  coresTotal: number;
  memoryBytesTotal: number;
  coresUsedByJobs: number;
  memoryBytesUsedByJobs: number;
  lending: LendingName;
  shadowSpare: SpareMessage[];
  spell: SpellMessage | null;
}

export interface PrincipalMessage {
  uid: number;
  gid: number;
  jobId: number;
  node: string;
}

export interface LeaseRequestMessage {
  kind: LeaseKindName;
  cores: number;
  memoryBytes: number;
  termMs: number;
  excludeNodes: string[];
  node: string;
  minCores: number;
  durability: DurabilityName;
}

export interface EndpointMessage {
  node: string;
  unixPath: string;
  tcpAddress: string;
  token: Buffer;
}

export interface LeaseMessage {
  id: string;
  kind: LeaseKindName;
  state: LeaseStateName;
  reason: ReasonName;
  node: string;
  cores: number[];
  memoryBytes: number;
  class: CapacityClassName;
  owner: PrincipalMessage | null;
  grantedUnixMs: number;
  termMs: number;
  remainingMs: number;
  invocations: number;
  durability: DurabilityName;
  account: string;
  partition: string;
}

export interface RefusalMessage {
  reason: ReasonName;
  node: string;
  message: string;
  retryAfterMs: number;
}

export interface NodeOutcome {
  node: string;
  code: number;
  message: string;
  leasesEnded: number;
  leasesLeft: number;
  drainingLeaseIds: string[];
  lending: LendingName;
}

export interface JobFactMessage {
  jobId: number;
  uid: number;
  partition: string;
  account: string;
  qos: string;
  exclusive: boolean;
}

export interface PressureMessage {
  durationMs: number;
  cpuUs: number;
  memoryUs: number;
  ioUs: number;
  watchedMs: number;
  memoryWatchedMs: number;
}

export interface ReceiptGuestMessage {
  leaseId: string;
  uid: number;
  kind: LeaseKindName;
  class: CapacityClassName;
  coreSeconds: number;
  byteSeconds: number;
  leases: number;
}

export interface ReceiptActionMessage {
  action: string;
  count: number;
}

export interface ReceiptMessage {
  jobId: number;
  node: string;
  uid: number;
  fromUnixMs: number;
  toUnixMs: number;
  ended: boolean;
  consent: ConsentName;
  guests: ReceiptGuestMessage[];
  actions: ReceiptActionMessage[];
  alone: PressureMessage | null;
  beside: PressureMessage | null;
  pressureOf: string;
}

export interface UsageRecordMessage {
  leaseId: string;
  slice: number;
  node: string;
  uid: number;
  account: string;
  jobId: number;
  partition: string;
  class: CapacityClassName;
  kind: LeaseKindName;
  cores: number;
  memoryBytes: number;
  coreSeconds: number;
  byteSeconds: number;
  invocations: number;
  state: LeaseStateName;
  reason: ReasonName;
  beginUnixMs: number;
  endUnixMs: number;
}

export interface QuotaExhaustedMessage {
  account: string;
  limitCoreSeconds: number;
  usedCoreSeconds: number;
  resetsInMs: number;
  timeZone: string;
}

// controller.proto

export interface ReportRequest {
  offer: OfferMessage | null;
  leases: LeaseMessage[];
  full: boolean;
  receipts: ReceiptMessage[];
  usage: UsageRecordMessage[];
  reclaims: ReclaimRecordMessage[];
  counters: NodeCountersMessage | null;
}

export interface ReclaimRecordMessage {
  atUnixMs: number;
  durationUs: number;
  leases: number;
  cause: string;
}

export interface NodeCountersMessage {
  invocations: number;
  throttle: number;
  freeze: number;
  shrink: number;
  evict: number;
  outcomes: number[];
  jobWatchedMs: number;
  jobCoreMs: number;
  jobWaitedMs: number;
  jobMemoryCoreMs: number;
  jobMemoryWaitedMs: number;
}

export interface GetGainRequest {
  fromUnixMs: number;
  toUnixMs: number;
}

export interface GainHoursMessage {
  total: number;
  slurmAlone: number;
  lent: number;
  beyondPacking: number;
  perfectPacking: number;
}

export interface WaitingSideMessage {
  waitedPercent: number;
  nodes: number;
  jobCoreHours: number;
}

export interface WaitingComparisonMessage {
  lending: WaitingSideMessage | null;
  heldOut: WaitingSideMessage | null;
  differencePercent: number;
  lowPercent: number;
  highPercent: number;
}

/** Percents: NaN = not measured. */
export interface GainCostMessage {
  guardActions: number;
  leasesReclaimed: number;
  cpuPressurePercent: number;
  memoryPressurePercent: number;
  holdOutDifferencePercent: number;
  receipts: number;
  holdOutCpu: WaitingComparisonMessage | null;
  holdOutMemory: WaitingComparisonMessage | null;
}

export interface GetGainResponse {
  fromUnixMs: number;
  toUnixMs: number;
  covered: number;
  coreHours: GainHoursMessage | null;
  gibHours: GainHoursMessage | null;
  money: number;
  currency: string;
  cost: GainCostMessage | null;
  reclaims: ReclaimTimesMessage | null;
}

export interface ReclaimTimesMessage {
  count: number;
  p50Us: number;
  p99Us: number;
  maxUs: number;
}

export interface HorizonTableMessage {
  class: CapacityClassName;
  arrivalsPerHour: number[];
}

export interface HorizonModelMessage {
  tables: HorizonTableMessage[];
  confidence: number;
  ageEdgesMs: number[];
}

export interface ReportResponse {
  ackedRevision: number;
  resendFull: boolean;
  endedLeases: LeaseMessage[];
  horizon: HorizonModelMessage | null;
  jobFacts: JobFacts | null;
  drainingLeases: LeaseMessage[];
  openMs: number;
  ackedUsage: string[];
  quota: QuotasMessage | null;
}

export interface QuotasMessage {
  exhausted: QuotaExhaustedMessage[];
}

export interface RequestLeaseRequest {
  request: LeaseRequestMessage | null;
  owner: PrincipalMessage | null;
  ahead: boolean;
}

export interface RequestLeaseResponse {
  lease: LeaseMessage | null;
  endpoint: EndpointMessage | null;
  refusals: number;
  ahead: boolean;
}

export interface RenewLeaseRequest {
  leaseId: string;
  node: string;
  caller: PrincipalMessage | null;
}

export interface RenewLeaseResponse {
  lease: LeaseMessage | null;
}

export interface ReleaseLeaseRequest {
  leaseId: string;
  node: string;
  caller: PrincipalMessage | null;
}

export interface ReleaseLeaseResponse {
  lease: LeaseMessage | null;
}

export interface ControllerServiceListLeasesRequest {
  caller: PrincipalMessage | null;
}

export interface ControllerServiceListLeasesResponse {
  leases: LeaseMessage[];
}

export interface ListNodesRequest {
  columns: boolean;
}

export interface NodeStatusMessage {
  node: string;
  slurmState: string;
  slurmCores: number;
  slurmAllocCores: number;
  slurmMemoryBytes: number;
  slurmAllocMemoryBytes: number;
  offer: OfferMessage | null;
  offerAgeMs: number;
  leases: number;
  leasedCores: number;
  leasedMemoryBytes: number;
  partitions: string[];
}

export interface ListNodesResponse {
  nodes: NodeStatusMessage[];
  snapshotAgeMs: number;
  snapshotValid: boolean;
  columns: NodeColumnsMessage | null;
}

export interface NodeColumnsMessage {
  nodes: string[];
  slurmState: number[];
  states: string[];
  partitions: number[];
  partitionLists: string[];
  slurmCores: number[];
  slurmAllocCores: number[];
  slurmMemoryBytes: number[];
  slurmAllocMemoryBytes: number[];
  lending: number[];
  offerAgeMs: number[];
  horizonMs: number[];
  idleCores: number[];
  unallocatedCores: number[];
  sharedCores: number[];
  spareMemoryBytes: number[];
  leases: number[];
  leasedCores: number[];
  leasedMemoryBytes: number[];
}

export interface Selection {
  nodes: string[];
  partitions: string[];
  all: boolean;
  leaseIds: string[];
}

export interface ControllerServiceDrainRequest {
  selection: Selection | null;
  mode: ReclaimModeName;
  budgetMs: number;
  reason: string;
  caller: PrincipalMessage | null;
}

export interface ControllerServiceDrainResponse {
  outcomes: NodeOutcome[];
}

export interface ControllerServiceResumeRequest {
  selection: Selection | null;
  caller: PrincipalMessage | null;
}

export type ControllerServiceResumeResponse = ControllerServiceDrainResponse;

export type ControllerServiceReclaimRequest = ControllerServiceDrainRequest;

export type ControllerServiceReclaimResponse = ControllerServiceDrainResponse;

export interface JobFacts {
  jobs: JobFactMessage[];
}

export interface ListReceiptsRequest {
  jobId: number;
  caller: PrincipalMessage | null;
}

export interface ListReceiptsResponse {
  receipts: ReceiptMessage[];
}

export interface GetUsageRequest {
  from: string;
  to: string;
  groupBy: UsageGroupName[];
  account: string;
  user: string;
  caller: PrincipalMessage | null;
}

export interface UsageRowMessage {
  day: string;
  uid: number;
  user: string;
  account: string;
  leases: number;
  coreSeconds: number;
  byteSeconds: number;
  invocations: number;
}

export interface AccountQuotaMessage {
  account: string;
  limitCoreSeconds: number;
  usedCoreSeconds: number;
}

export interface GetUsageResponse {
  rows: UsageRowMessage[];
  fromDay: string;
  toDay: string;
  timeZone: string;
  quotas: AccountQuotaMessage[];
  quotaResetsInMs: number;
  allUsers: boolean;
  truncated: boolean;
}

// node.proto

export interface GrantRequest {
  leaseId: string;
  request: LeaseRequestMessage | null;
  owner: PrincipalMessage | null;
  account: string;
  partition: string;
  ahead: boolean;
}

export interface GrantResponse {
  lease: LeaseMessage | null;
  endpoint: EndpointMessage | null;
  ahead: boolean;
}

export interface RenewRequest {
  leaseId: string;
  caller: PrincipalMessage | null;
}

export interface RenewResponse {
  lease: LeaseMessage | null;
}

export interface ReleaseRequest {
  leaseId: string;
  caller: PrincipalMessage | null;
}

export interface ReleaseResponse {
  lease: LeaseMessage | null;
}

export interface ListLeasesRequest {
  caller: PrincipalMessage | null;
}

export interface ListLeasesResponse {
  leases: LeaseMessage[];
}

export type GetNodeRequest = Record<never, never>;

export interface GetNodeResponse {
  offer: OfferMessage | null;
  findings: Record<string, string>;
}

export type GetHealthRequest = Record<never, never>;

export interface GetHealthResponse {
  version: string;
  unixMs: number;
  findings: Record<string, string>;
  problems: string[];
}

export interface DrainRequest {
  mode: ReclaimModeName;
  budgetMs: number;
  reason: string;
  caller: PrincipalMessage | null;
}

export interface DrainResponse {
  outcome: NodeOutcome | null;
}

export interface ResumeRequest {
  caller: PrincipalMessage | null;
}

export type ResumeResponse = DrainResponse;

export interface ReclaimRequest extends DrainRequest {
  leaseIds: string[];
}

export type ReclaimResponse = DrainResponse;

// local.proto

export interface LocalLease {
  request: LeaseRequestMessage | null;
  jobId: number;
}

export interface LocalRenew {
  leaseId: string;
  node: string;
}

export interface LocalRelease {
  leaseId: string;
  node: string;
}

export type LocalList = Record<never, never>;

export type LocalStatus = Record<never, never>;

export interface LocalJob {
  jobId: number;
}

export interface LocalHook {
  event: HookEventName;
  jobId: number;
  uid: number;
  consent: ConsentName;
  cores: number[];
  memoryBytes: number;
  partition: string;
  account: string;
  qos: string;
  stepId: number;
}

export interface LocalDrain {
  mode: ReclaimModeName;
  budgetMs: number;
  reason: string;
}

export type LocalResume = Record<never, never>;

export interface LocalReclaim extends LocalDrain {
  leaseIds: string[];
}

/** One of these; `body` says which. Without `body` the sender knows a request that we do not. */
export type LocalRequestBody =
  | { body: "lease"; lease: LocalLease }
  | { body: "renew"; renew: LocalRenew }
  | { body: "release"; release: LocalRelease }
  | { body: "list"; list: LocalList }
  | { body: "hook"; hook: LocalHook }
  | { body: "status"; status: LocalStatus }
  | { body: "drain"; drain: LocalDrain }
  | { body: "resume"; resume: LocalResume }
  | { body: "reclaim"; reclaim: LocalReclaim }
  | { body: "job"; job: LocalJob }
  | { body?: undefined };

export type LocalRequest = { id: number } & LocalRequestBody;

export interface LocalLeased {
  lease: LeaseMessage | null;
  endpoint: EndpointMessage | null;
}

export interface LocalLeases {
  leases: LeaseMessage[];
}

export interface LocalHookDone {
  leasesEnded: number;
  tookUs: number;
}

export interface LocalStatusReport {
  offer: OfferMessage | null;
  findings: Record<string, string>;
  controllerConnected: boolean;
}

export interface LocalRevoked {
  leaseId: string;
  state: LeaseStateName;
  reason: ReasonName;
}

export interface LocalDraining {
  leaseId: string;
  remainingMs: number;
  reason: ReasonName;
}

export interface LocalReceipts {
  receipts: ReceiptMessage[];
  leftOut: number;
}

export type LocalResponseBody =
  | { body: "leased"; leased: LocalLeased }
  | { body: "lease"; lease: LeaseMessage }
  | { body: "leases"; leases: LocalLeases }
  | { body: "hookDone"; hookDone: LocalHookDone }
  | { body: "status"; status: LocalStatusReport }
  | { body: "revoked"; revoked: LocalRevoked }
  | { body: "draining"; draining: LocalDraining }
  | { body: "outcome"; outcome: NodeOutcome }
  | { body: "receipts"; receipts: LocalReceipts }
  | { body?: undefined };

export type LocalResponse = { id: number; code: number; message: string } & LocalResponseBody;

/** A message to be sent: what is left out takes its default. */
export type Init<T> = T extends Uint8Array
  ? Uint8Array
  : T extends readonly (infer E)[]
    ? readonly Init<E>[]
    : T extends object
      ? { readonly [K in keyof T]?: Init<T[K]> | null | undefined }
      : T;

/** All messages by their name in the .proto files. */
export interface Messages {
  Spare: SpareMessage;
  Spell: SpellMessage;
  Offer: OfferMessage;
  Principal: PrincipalMessage;
  LeaseRequest: LeaseRequestMessage;
  Endpoint: EndpointMessage;
  Lease: LeaseMessage;
  Refusal: RefusalMessage;
  JobFact: JobFactMessage;
  Pressure: PressureMessage;
  ReceiptGuest: ReceiptGuestMessage;
  ReceiptAction: ReceiptActionMessage;
  Receipt: ReceiptMessage;
  UsageRecord: UsageRecordMessage;
  QuotaExhausted: QuotaExhaustedMessage;
  ReportRequest: ReportRequest;
  HorizonTable: HorizonTableMessage;
  HorizonModel: HorizonModelMessage;
  ReportResponse: ReportResponse;
  RequestLeaseRequest: RequestLeaseRequest;
  RequestLeaseResponse: RequestLeaseResponse;
  RenewLeaseRequest: RenewLeaseRequest;
  RenewLeaseResponse: RenewLeaseResponse;
  ReleaseLeaseRequest: ReleaseLeaseRequest;
  ReleaseLeaseResponse: ReleaseLeaseResponse;
  ControllerServiceListLeasesRequest: ControllerServiceListLeasesRequest;
  ControllerServiceListLeasesResponse: ControllerServiceListLeasesResponse;
  ListNodesRequest: ListNodesRequest;
  NodeStatus: NodeStatusMessage;
  ListNodesResponse: ListNodesResponse;
  NodeColumns: NodeColumnsMessage;
  JobFacts: JobFacts;
  ListReceiptsRequest: ListReceiptsRequest;
  ListReceiptsResponse: ListReceiptsResponse;
  Quotas: QuotasMessage;
  GetUsageRequest: GetUsageRequest;
  UsageRow: UsageRowMessage;
  AccountQuota: AccountQuotaMessage;
  GetUsageResponse: GetUsageResponse;
  ReclaimRecord: ReclaimRecordMessage;
  NodeCounters: NodeCountersMessage;
  GetGainRequest: GetGainRequest;
  GainHours: GainHoursMessage;
  WaitingSide: WaitingSideMessage;
  WaitingComparison: WaitingComparisonMessage;
  GainCost: GainCostMessage;
  GetGainResponse: GetGainResponse;
  ReclaimTimes: ReclaimTimesMessage;
  GrantRequest: GrantRequest;
  GrantResponse: GrantResponse;
  RenewRequest: RenewRequest;
  RenewResponse: RenewResponse;
  ReleaseRequest: ReleaseRequest;
  ReleaseResponse: ReleaseResponse;
  ListLeasesRequest: ListLeasesRequest;
  ListLeasesResponse: ListLeasesResponse;
  GetNodeRequest: GetNodeRequest;
  GetNodeResponse: GetNodeResponse;
  GetHealthRequest: GetHealthRequest;
  GetHealthResponse: GetHealthResponse;
  LocalRequest: LocalRequest;
  LocalResponse: LocalResponse;
  LocalLease: LocalLease;
  LocalRenew: LocalRenew;
  LocalRelease: LocalRelease;
  LocalList: LocalList;
  LocalStatus: LocalStatus;
  LocalJob: LocalJob;
  LocalReceipts: LocalReceipts;
  LocalHook: LocalHook;
  LocalLeased: LocalLeased;
  LocalLeases: LocalLeases;
  LocalHookDone: LocalHookDone;
  LocalStatusReport: LocalStatusReport;
  LocalRevoked: LocalRevoked;
  LocalDraining: LocalDraining;
  LocalDrain: LocalDrain;
  LocalResume: LocalResume;
  LocalReclaim: LocalReclaim;
  NodeOutcome: NodeOutcome;
  Selection: Selection;
  ControllerServiceDrainRequest: ControllerServiceDrainRequest;
  ControllerServiceDrainResponse: ControllerServiceDrainResponse;
  ControllerServiceResumeRequest: ControllerServiceResumeRequest;
  ControllerServiceResumeResponse: ControllerServiceResumeResponse;
  ControllerServiceReclaimRequest: ControllerServiceReclaimRequest;
  ControllerServiceReclaimResponse: ControllerServiceReclaimResponse;
  DrainRequest: DrainRequest;
  DrainResponse: DrainResponse;
  ResumeRequest: ResumeRequest;
  ResumeResponse: ResumeResponse;
  ReclaimRequest: ReclaimRequest;
  ReclaimResponse: ReclaimResponse;
}

export type MessageName = keyof Messages;

/** Unary methods per service: request and response. */
export interface NodeMethods {
  grant: { request: GrantRequest; response: GrantResponse };
  renew: { request: RenewRequest; response: RenewResponse };
  release: { request: ReleaseRequest; response: ReleaseResponse };
  listLeases: { request: ListLeasesRequest; response: ListLeasesResponse };
  getNode: { request: GetNodeRequest; response: GetNodeResponse };
  drain: { request: DrainRequest; response: DrainResponse };
  resume: { request: ResumeRequest; response: ResumeResponse };
  reclaim: { request: ReclaimRequest; response: ReclaimResponse };
  getHealth: { request: GetHealthRequest; response: GetHealthResponse };
}

export interface ControllerMethods {
  requestLease: { request: RequestLeaseRequest; response: RequestLeaseResponse };
  renewLease: { request: RenewLeaseRequest; response: RenewLeaseResponse };
  releaseLease: { request: ReleaseLeaseRequest; response: ReleaseLeaseResponse };
  listLeases: {
    request: ControllerServiceListLeasesRequest;
    response: ControllerServiceListLeasesResponse;
  };
  listNodes: { request: ListNodesRequest; response: ListNodesResponse };
  drain: { request: ControllerServiceDrainRequest; response: ControllerServiceDrainResponse };
  resume: { request: ControllerServiceResumeRequest; response: ControllerServiceResumeResponse };
  reclaim: { request: ControllerServiceReclaimRequest; response: ControllerServiceReclaimResponse };
  listReceipts: { request: ListReceiptsRequest; response: ListReceiptsResponse };
  getUsage: { request: GetUsageRequest; response: GetUsageResponse };
  getGain: { request: GetGainRequest; response: GetGainResponse };
}
