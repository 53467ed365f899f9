! libsublet for Fortran 2008: the calls of sublet/sublet.h under their C names, options as derived types whose initial
! values are those of the INIT macros. Handles are type(c_ptr). What each call does is said in sublet/sublet.h.
!
!   use, intrinsic :: iso_c_binding
!   use sublet
!   type(c_ptr) :: session, library, dot
!   status = sublet_open(c_null_ptr, session)
!   status = sublet_library_open(session, sublet_string("libdot.so"), library)
!   status = sublet_function_find(library, sublet_string("dot"), dot)
!   status = sublet_for_each(session, dot, c_loc(in), in_bytes, c_loc(out), out_bytes, count, c_null_ptr)
!   call sublet_close(session)
!
! Arrays that are passed with c_loc have the target attribute; those of sublet_submit and the asynchronous calls must
! stay where they are until the call has ended (no temporary copies: pass contiguous arrays). Unsigned numbers of C are
! signed here: sizes below 2 GiB and 8 EiB look the same. A Fortran function is a plain C function:
!
!   function dot(in, bytes, out) bind(c) result(written)
!     type(c_ptr), value :: in, out
!     integer(c_int32_t), value :: bytes
!     integer(c_int32_t) :: written
module sublet
  use, intrinsic :: iso_c_binding
  implicit none
  public

  integer(c_int), parameter :: SUBLET_OK = 0
  integer(c_int), parameter :: SUBLET_ERR_INVALID = 1
  integer(c_int), parameter :: SUBLET_ERR_NO_MEMORY = 2
  integer(c_int), parameter :: SUBLET_ERR_BUSY = 3
  integer(c_int), parameter :: SUBLET_ERR_TIMEOUT = 4
  integer(c_int), parameter :: SUBLET_ERR_CRASHED = 5
  integer(c_int), parameter :: SUBLET_ERR_TOO_LARGE = 6
  integer(c_int), parameter :: SUBLET_ERR_NOT_FOUND = 7
  integer(c_int), parameter :: SUBLET_ERR_DENIED = 8
  integer(c_int), parameter :: SUBLET_ERR_REVOKED = 9
  integer(c_int), parameter :: SUBLET_ERR_LOST = 10
  integer(c_int), parameter :: SUBLET_ERR_VERSION = 11
  integer(c_int), parameter :: SUBLET_ERR_SYSTEM = 12
  integer(c_int), parameter :: SUBLET_ERR_FUNCTION = 13
  integer(c_int), parameter :: SUBLET_ERR_EXITED = 14
  integer(c_int), parameter :: SUBLET_ERR_STACK_OVERFLOW = 15
  integer(c_int), parameter :: SUBLET_ERR_OVERRUN = 16
  integer(c_int), parameter :: SUBLET_ERR_LEFT_THREADS = 17
  integer(c_int), parameter :: SUBLET_ERR_HASH = 18

  integer(c_int32_t), parameter :: SUBLET_CALL_ONCE = 1
  integer(c_int32_t), parameter :: SUBLET_CALL_NO_LOCAL = 2

  integer(c_int), parameter :: SUBLET_LEASE_ACTIVE = 0
  integer(c_int), parameter :: SUBLET_LEASE_RELEASED = 1
  integer(c_int), parameter :: SUBLET_LEASE_EXPIRED = 2
  integer(c_int), parameter :: SUBLET_LEASE_REVOKED = 3
  integer(c_int), parameter :: SUBLET_LEASE_DRAINING = 4

  integer(c_int32_t), parameter :: SUBLET_TRACE_MEMORY = 1
  integer(c_int32_t), parameter :: SUBLET_TRACE_CONNECTION = 2
  integer(c_int32_t), parameter :: SUBLET_TRACE_HERE = 4
  integer(c_int32_t), parameter :: SUBLET_TRACE_WORKER_TOLD = 8
  integer(c_int32_t), parameter :: SUBLET_TRACE_WORKER_SLEPT = 16
  integer(c_int32_t), parameter :: SUBLET_TRACE_WORKER_BUSY = 32
  integer(c_int32_t), parameter :: SUBLET_TRACE_CALLER_SLEPT = 64

  integer(c_size_t), parameter :: SUBLET_EXPORT_BYTES = 384

  integer(c_int32_t), parameter :: SUBLET_MAP_READ_ONLY = 1
  integer(c_int32_t), parameter :: SUBLET_MAP_PAGED = 2

  integer(c_int32_t), parameter :: SUBLET_EPHEMERAL = 1
  integer(c_int32_t), parameter :: SUBLET_EVACUATED = 2
  integer(c_int32_t), parameter :: SUBLET_MIRRORED = 3

  type, bind(c) :: sublet_options
    integer(c_int32_t) :: struct_bytes = 56
    integer(c_int32_t) :: flags = 0
    type(c_ptr) :: agent_socket = c_null_ptr
    integer(c_int64_t) :: timeout_ms = 0
    integer(c_int64_t) :: spin_us = 0
    type(c_ptr) :: spill_folder = c_null_ptr
    integer(c_int64_t) :: spill_bytes = 0
    type(c_ptr) :: fabric = c_null_ptr
  end type

  type, bind(c) :: sublet_lease_options
    integer(c_int32_t) :: struct_bytes = 64
    integer(c_int32_t) :: cores = 0
    integer(c_int32_t) :: min_cores = 0
    integer(c_int32_t) :: slots = 0
    integer(c_int64_t) :: memory_bytes = 0
    integer(c_int64_t) :: in_bytes = 0
    integer(c_int64_t) :: out_bytes = 0
    integer(c_int64_t) :: term_ms = 0
    type(c_ptr) :: node = c_null_ptr
    type(c_ptr) :: exclude_nodes = c_null_ptr
  end type

  type, bind(c) :: sublet_call_options
    integer(c_int32_t) :: struct_bytes = 40
    integer(c_int32_t) :: flags = 0
    type(c_ptr) :: lease = c_null_ptr
    integer(c_int32_t) :: worker = -1
    integer(c_int32_t) :: reserved = 0
    integer(c_int64_t) :: timeout_ms = 0
    type(c_ptr) :: trace = c_null_ptr ! c_loc of a sublet_trace, of sublet_invoke only
  end type

  type, bind(c) :: sublet_trace
    integer(c_int32_t) :: struct_bytes = 96
    integer(c_int32_t) :: flags = 0
    integer(c_int64_t) :: total_ns = 0
    integer(c_int64_t) :: send_ns = 0
    integer(c_int64_t) :: wire_ns = 0
    integer(c_int64_t) :: wake_ns = 0
    integer(c_int64_t) :: queue_ns = 0
    integer(c_int64_t) :: prepare_ns = 0
    integer(c_int64_t) :: run_ns = 0
    integer(c_int64_t) :: answer_ns = 0
    integer(c_int64_t) :: back_ns = 0
    integer(c_int64_t) :: caller_ns = 0
    integer(c_int64_t) :: receive_ns = 0
  end type

  type, bind(c) :: sublet_lease_info
    integer(c_int32_t) :: struct_bytes = 304
    integer(c_int) :: state = 0 ! one of SUBLET_LEASE_ACTIVE ...
    integer(c_int32_t) :: workers = 0
    integer(c_int32_t) :: same_node = 0
    character(kind=c_char) :: id(64) = c_null_char ! sublet_characters(id), and so the other texts
    character(kind=c_char) :: node(64) = c_null_char
    character(kind=c_char) :: reason(64) = c_null_char
    integer(c_int64_t) :: request_ns = 0
    integer(c_int64_t) :: calls = 0
    character(kind=c_char) :: path(32) = c_null_char
    integer(c_int64_t) :: huge_bytes = 0
    integer(c_int32_t) :: reason_known = 0
    integer(c_int32_t) :: copies = 0
    integer(c_int64_t) :: remaining_ms = 0
    integer(c_int64_t) :: moves = 0
    integer(c_int64_t) :: spilled_bytes = 0
    integer(c_int64_t) :: fabric_falls = 0
  end type

  ! What sublet_buffer_acquire gives, by c_f_pointer(buffer, parts): in and out likewise become arrays.
  type, bind(c) :: sublet_buffer
    type(c_ptr) :: in
    type(c_ptr) :: out
    integer(c_size_t) :: in_bytes
    integer(c_size_t) :: out_bytes
    integer(c_int32_t) :: in_place
    integer(c_int32_t) :: reserved
  end type

  type, bind(c) :: sublet_buffer_options
    integer(c_int32_t) :: struct_bytes = 48
    integer(c_int32_t) :: flags = 0
    type(c_ptr) :: lease = c_null_ptr
    integer(c_int32_t) :: worker = -1
    integer(c_int32_t) :: reserved = 0
    integer(c_int64_t) :: timeout_ms = 0
    integer(c_int64_t) :: in_bytes = 0
    integer(c_int64_t) :: out_bytes = 0
  end type

  type, bind(c) :: sublet_for_each_report
    integer(c_int64_t) :: remote = 0
    integer(c_int64_t) :: local = 0
    integer(c_int64_t) :: retried = 0
  end type

  type, bind(c) :: sublet_region_options
    integer(c_int32_t) :: struct_bytes = 32
    integer(c_int32_t) :: durability = 0 ! one of SUBLET_EPHEMERAL ...
    integer(c_int64_t) :: term_ms = 0
    type(c_ptr) :: node = c_null_ptr
    type(c_ptr) :: exclude_nodes = c_null_ptr
  end type

  type, bind(c) :: sublet_region_piece
    integer(c_int64_t) :: offset = 0
    type(c_ptr) :: bytes = c_null_ptr
    integer(c_size_t) :: size = 0
  end type

  type, bind(c) :: sublet_map_options
    integer(c_int32_t) :: struct_bytes = 24
    integer(c_int32_t) :: flags = 0
    integer(c_int64_t) :: cache_bytes = 0
    integer(c_int64_t) :: read_ahead_bytes = 0
  end type

  type, bind(c) :: sublet_map_info
    integer(c_int32_t) :: struct_bytes = 80
    integer(c_int32_t) :: direct = 0
    integer(c_int32_t) :: kernel_faults = 0
    integer(c_int32_t) :: reserved = 0
    integer(c_int64_t) :: cache_bytes = 0
    integer(c_int64_t) :: resident_bytes = 0
    integer(c_int64_t) :: dirty_bytes = 0
    integer(c_int64_t) :: faults = 0
    integer(c_int64_t) :: second_chances = 0
    integer(c_int64_t) :: fetched_bytes = 0
    integer(c_int64_t) :: written_bytes = 0
    integer(c_int64_t) :: lost_bytes = 0
  end type

  interface
    function sublet_open(options, session) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: options ! c_loc of a sublet_options, or c_null_ptr
      type(c_ptr), intent(out) :: session
      integer(c_int) :: status
    end function

    subroutine sublet_close(session) bind(c)
      import :: c_ptr
      type(c_ptr), value :: session
    end subroutine

    function sublet_last_error_c() bind(c, name="sublet_last_error") result(text)
      import :: c_ptr
      type(c_ptr) :: text
    end function

    function sublet_status_text_c(status) bind(c, name="sublet_status_text") result(text)
      import :: c_int, c_ptr
      integer(c_int), value :: status
      type(c_ptr) :: text
    end function

    function sublet_lease_acquire(session, options, lease) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: session
      type(c_ptr), value :: options ! c_loc of a sublet_lease_options, or c_null_ptr
      type(c_ptr), intent(out) :: lease
      integer(c_int) :: status
    end function

    subroutine sublet_lease_release(lease) bind(c)
      import :: c_ptr
      type(c_ptr), value :: lease
    end subroutine

    function sublet_lease_info_get(lease, info) bind(c) result(status)
      import :: c_int, c_ptr, sublet_lease_info
      type(c_ptr), value :: lease
      type(sublet_lease_info), intent(inout) :: info
      integer(c_int) :: status
    end function

    function sublet_lease_export(lease, function, out, out_capacity, out_bytes) bind(c) result(status)
      import :: c_int, c_ptr, c_size_t
      type(c_ptr), value :: lease, function, out
      integer(c_size_t), value :: out_capacity
      integer(c_size_t), intent(out) :: out_bytes
      integer(c_int) :: status
    end function

    function sublet_lease_import(session, bytes, size, lease, function) bind(c) result(status)
      import :: c_int, c_ptr, c_size_t
      type(c_ptr), value :: session, bytes
      integer(c_size_t), value :: size
      type(c_ptr), intent(out) :: lease, function
      integer(c_int) :: status
    end function

    function sublet_library_open(session, path, library) bind(c) result(status)
      import :: c_char, c_int, c_ptr
      type(c_ptr), value :: session
      character(kind=c_char), intent(in) :: path(*) ! sublet_string("...")
      type(c_ptr), intent(out) :: library
      integer(c_int) :: status
    end function

    function sublet_function_find(library, name, function) bind(c) result(status)
      import :: c_char, c_int, c_ptr
      type(c_ptr), value :: library
      character(kind=c_char), intent(in) :: name(*)
      type(c_ptr), intent(out) :: function
      integer(c_int) :: status
    end function

    function sublet_invoke(session, function, in, in_bytes, out, out_capacity, out_bytes, options) bind(c) &
        result(status)
      import :: c_int, c_ptr, c_size_t
      type(c_ptr), value :: session, function, in, out
      integer(c_size_t), value :: in_bytes, out_capacity
      integer(c_size_t), intent(out) :: out_bytes
      type(c_ptr), value :: options ! c_loc of a sublet_call_options, or c_null_ptr
      integer(c_int) :: status
    end function

    function sublet_invoke_alloc(session, function, in, in_bytes, most_bytes, out, out_bytes, options) bind(c) &
        result(status)
      import :: c_int, c_ptr, c_size_t
      type(c_ptr), value :: session, function, in
      integer(c_size_t), value :: in_bytes, most_bytes
      type(c_ptr), intent(out) :: out
      integer(c_size_t), intent(out) :: out_bytes
      type(c_ptr), value :: options ! c_loc of a sublet_call_options, or c_null_ptr
      integer(c_int) :: status
    end function

    subroutine sublet_free(result) bind(c)
      import :: c_ptr
      type(c_ptr), value :: result
    end subroutine

    function sublet_submit(session, function, in, in_bytes, out, out_capacity, options, call) bind(c) result(status)
      import :: c_int, c_ptr, c_size_t
      type(c_ptr), value :: session, function, in, out
      integer(c_size_t), value :: in_bytes, out_capacity
      type(c_ptr), value :: options
      type(c_ptr), intent(out) :: call
      integer(c_int) :: status
    end function

    function sublet_test(call) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: call
      integer(c_int) :: status
    end function

    function sublet_wait(call, timeout_ms) bind(c) result(status)
      import :: c_int, c_int64_t, c_ptr
      type(c_ptr), value :: call
      integer(c_int64_t), value :: timeout_ms
      integer(c_int) :: status
    end function

    function sublet_wait_any(calls, count, timeout_ms, index) bind(c) result(status)
      import :: c_int, c_int64_t, c_ptr, c_size_t
      type(c_ptr), intent(in) :: calls(*)
      integer(c_size_t), value :: count
      integer(c_int64_t), value :: timeout_ms
      integer(c_size_t), intent(out) :: index ! of C: the first is 0
      integer(c_int) :: status
    end function

    function sublet_wait_all(calls, count, timeout_ms) bind(c) result(status)
      import :: c_int, c_int64_t, c_ptr, c_size_t
      type(c_ptr), intent(in) :: calls(*)
      integer(c_size_t), value :: count
      integer(c_int64_t), value :: timeout_ms
      integer(c_int) :: status
    end function

    function sublet_call_result(call, out_bytes, node) bind(c) result(status)
      import :: c_int, c_ptr, c_size_t
      type(c_ptr), value :: call
      integer(c_size_t), intent(out) :: out_bytes
      type(c_ptr), intent(out) :: node ! sublet_text(node)
      integer(c_int) :: status
    end function

    subroutine sublet_cancel(call) bind(c)
      import :: c_ptr
      type(c_ptr), value :: call
    end subroutine

    subroutine sublet_call_free(call) bind(c)
      import :: c_ptr
      type(c_ptr), value :: call
    end subroutine

    function sublet_buffer_acquire(session, function, options, buffer) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: session, function
      type(c_ptr), value :: options ! c_loc of a sublet_buffer_options, or c_null_ptr
      type(c_ptr), intent(out) :: buffer
      integer(c_int) :: status
    end function

    subroutine sublet_buffer_release(buffer) bind(c)
      import :: c_ptr
      type(c_ptr), value :: buffer
    end subroutine

    function sublet_buffer_invoke(buffer, in_bytes, out_bytes) bind(c) result(status)
      import :: c_int, c_ptr, c_size_t
      type(c_ptr), value :: buffer
      integer(c_size_t), value :: in_bytes
      integer(c_size_t), intent(out) :: out_bytes
      integer(c_int) :: status
    end function

    function sublet_buffer_submit(buffer, in_bytes) bind(c) result(status)
      import :: c_int, c_ptr, c_size_t
      type(c_ptr), value :: buffer
      integer(c_size_t), value :: in_bytes
      integer(c_int) :: status
    end function

    function sublet_buffer_submit_many(buffers, in_bytes, count, started) bind(c) result(status)
      import :: c_int, c_ptr, c_size_t
      type(c_ptr), intent(in) :: buffers(*)
      integer(c_size_t), intent(in) :: in_bytes(*)
      integer(c_size_t), value :: count
      integer(c_size_t), intent(out) :: started
      integer(c_int) :: status
    end function

    function sublet_buffer_test(buffer, out_bytes) bind(c) result(status)
      import :: c_int, c_ptr, c_size_t
      type(c_ptr), value :: buffer
      integer(c_size_t), intent(out) :: out_bytes
      integer(c_int) :: status
    end function

    function sublet_buffer_wait(buffer, timeout_ms, out_bytes) bind(c) result(status)
      import :: c_int, c_int64_t, c_ptr, c_size_t
      type(c_ptr), value :: buffer
      integer(c_int64_t), value :: timeout_ms
      integer(c_size_t), intent(out) :: out_bytes
      integer(c_int) :: status
    end function

    function sublet_buffer_wait_any(buffers, count, timeout_ms, index) bind(c) result(status)
      import :: c_int, c_int64_t, c_ptr, c_size_t
      type(c_ptr), intent(in) :: buffers(*)
      integer(c_size_t), value :: count
      integer(c_int64_t), value :: timeout_ms
      integer(c_size_t), intent(out) :: index ! of C: the first is 0
      integer(c_int) :: status
    end function

    function sublet_buffer_wait_all(buffers, count, timeout_ms) bind(c) result(status)
      import :: c_int, c_int64_t, c_ptr, c_size_t
      type(c_ptr), intent(in) :: buffers(*)
      integer(c_size_t), value :: count
      integer(c_int64_t), value :: timeout_ms
      integer(c_int) :: status
    end function

    function sublet_for_each(session, function, in, in_bytes, out, out_bytes, count, report) bind(c) result(status)
      import :: c_int, c_ptr, c_size_t
      type(c_ptr), value :: session, function, in, out
      integer(c_size_t), value :: in_bytes, out_bytes, count
      type(c_ptr), value :: report ! c_loc of a sublet_for_each_report, or c_null_ptr
      integer(c_int) :: status
    end function

    function sublet_region_alloc(session, bytes, options, region) bind(c) result(status)
      import :: c_int, c_int64_t, c_ptr
      type(c_ptr), value :: session
      integer(c_int64_t), value :: bytes
      type(c_ptr), value :: options ! c_loc of a sublet_region_options, or c_null_ptr
      type(c_ptr), intent(out) :: region
      integer(c_int) :: status
    end function

    function sublet_region_put(region, offset, from, bytes) bind(c) result(status)
      import :: c_int, c_int64_t, c_ptr, c_size_t
      type(c_ptr), value :: region, from
      integer(c_int64_t), value :: offset
      integer(c_size_t), value :: bytes
      integer(c_int) :: status
    end function

    function sublet_region_get(region, offset, to, bytes) bind(c) result(status)
      import :: c_int, c_int64_t, c_ptr, c_size_t
      type(c_ptr), value :: region, to
      integer(c_int64_t), value :: offset
      integer(c_size_t), value :: bytes
      integer(c_int) :: status
    end function

    function sublet_region_put_async(region, offset, from, bytes) bind(c) result(status)
      import :: c_int, c_int64_t, c_ptr, c_size_t
      type(c_ptr), value :: region, from
      integer(c_int64_t), value :: offset
      integer(c_size_t), value :: bytes
      integer(c_int) :: status
    end function

    function sublet_region_get_async(region, offset, to, bytes) bind(c) result(status)
      import :: c_int, c_int64_t, c_ptr, c_size_t
      type(c_ptr), value :: region, to
      integer(c_int64_t), value :: offset
      integer(c_size_t), value :: bytes
      integer(c_int) :: status
    end function

    function sublet_region_put_list(region, pieces, count) bind(c) result(status)
      import :: c_int, c_ptr, c_size_t, sublet_region_piece
      type(c_ptr), value :: region
      type(sublet_region_piece), intent(in) :: pieces(*)
      integer(c_size_t), value :: count
      integer(c_int) :: status
    end function

    function sublet_region_put_list_async(region, pieces, count) bind(c) result(status)
      import :: c_int, c_ptr, c_size_t, sublet_region_piece
      type(c_ptr), value :: region
      type(sublet_region_piece), intent(in) :: pieces(*)
      integer(c_size_t), value :: count
      integer(c_int) :: status
    end function

    function sublet_region_get_list(region, pieces, count) bind(c) result(status)
      import :: c_int, c_ptr, c_size_t, sublet_region_piece
      type(c_ptr), value :: region
      type(sublet_region_piece), intent(in) :: pieces(*)
      integer(c_size_t), value :: count
      integer(c_int) :: status
    end function

    function sublet_region_get_list_async(region, pieces, count) bind(c) result(status)
      import :: c_int, c_ptr, c_size_t, sublet_region_piece
      type(c_ptr), value :: region
      type(sublet_region_piece), intent(in) :: pieces(*)
      integer(c_size_t), value :: count
      integer(c_int) :: status
    end function

    function sublet_region_put_strided(region, offset, count, block, stride, from) bind(c) result(status)
      import :: c_int, c_int64_t, c_ptr, c_size_t
      type(c_ptr), value :: region
      integer(c_int64_t), value :: offset
      integer(c_size_t), value :: count, block
      integer(c_int64_t), value :: stride
      type(c_ptr), value :: from
      integer(c_int) :: status
    end function

    function sublet_region_put_strided_async(region, offset, count, block, stride, from) bind(c) result(status)
      import :: c_int, c_int64_t, c_ptr, c_size_t
      type(c_ptr), value :: region
      integer(c_int64_t), value :: offset
      integer(c_size_t), value :: count, block
      integer(c_int64_t), value :: stride
      type(c_ptr), value :: from
      integer(c_int) :: status
    end function

    function sublet_region_get_strided(region, offset, count, block, stride, to) bind(c) result(status)
      import :: c_int, c_int64_t, c_ptr, c_size_t
      type(c_ptr), value :: region
      integer(c_int64_t), value :: offset
      integer(c_size_t), value :: count, block
      integer(c_int64_t), value :: stride
      type(c_ptr), value :: to
      integer(c_int) :: status
    end function

    function sublet_region_get_strided_async(region, offset, count, block, stride, to) bind(c) result(status)
      import :: c_int, c_int64_t, c_ptr, c_size_t
      type(c_ptr), value :: region
      integer(c_int64_t), value :: offset
      integer(c_size_t), value :: count, block
      integer(c_int64_t), value :: stride
      type(c_ptr), value :: to
      integer(c_int) :: status
    end function

    function sublet_region_fetch_add(region, offset, value, before) bind(c) result(status)
      import :: c_int, c_int64_t, c_ptr
      type(c_ptr), value :: region
      integer(c_int64_t), value :: offset, value
      integer(c_int64_t), intent(out) :: before
      integer(c_int) :: status
    end function

    function sublet_region_compare_swap(region, offset, expected, desired, before) bind(c) result(status)
      import :: c_int, c_int64_t, c_ptr
      type(c_ptr), value :: region
      integer(c_int64_t), value :: offset, expected, desired
      integer(c_int64_t), intent(out) :: before
      integer(c_int) :: status
    end function

    function sublet_region_fetch_add_async(region, offset, value, before) bind(c) result(status)
      import :: c_int, c_int64_t, c_ptr
      type(c_ptr), value :: region
      integer(c_int64_t), value :: offset, value
      type(c_ptr), value :: before ! c_loc of an integer(c_int64_t), set by sublet_region_flush
      integer(c_int) :: status
    end function

    function sublet_region_compare_swap_async(region, offset, expected, desired, before) bind(c) result(status)
      import :: c_int, c_int64_t, c_ptr
      type(c_ptr), value :: region
      integer(c_int64_t), value :: offset, expected, desired
      type(c_ptr), value :: before ! likewise
      integer(c_int) :: status
    end function

    function sublet_region_fence(region) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: region
      integer(c_int) :: status
    end function

    function sublet_region_info_get(region, info) bind(c) result(status)
      import :: c_int, c_ptr, sublet_lease_info
      type(c_ptr), value :: region
      type(sublet_lease_info), intent(inout) :: info
      integer(c_int) :: status
    end function

    function sublet_region_flush(region) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: region
      integer(c_int) :: status
    end function

    subroutine sublet_region_free(region) bind(c)
      import :: c_ptr
      type(c_ptr), value :: region
    end subroutine

    function sublet_map(region, offset, bytes, options, pointer, map) bind(c) result(status)
      import :: c_int, c_int64_t, c_ptr
      type(c_ptr), value :: region
      integer(c_int64_t), value :: offset, bytes
      type(c_ptr), value :: options ! c_loc of a sublet_map_options, or c_null_ptr
      type(c_ptr), intent(out) :: pointer ! c_f_pointer makes an array of it
      type(c_ptr), intent(out) :: map
      integer(c_int) :: status
    end function

    function sublet_map_flush(map) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: map
      integer(c_int) :: status
    end function

    function sublet_map_status(map) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: map
      integer(c_int) :: status
    end function

    function sublet_map_info_get(map, info) bind(c) result(status)
      import :: c_int, c_ptr, sublet_map_info
      type(c_ptr), value :: map
      type(sublet_map_info), intent(inout) :: info
      integer(c_int) :: status
    end function

    function sublet_unmap(map) bind(c) result(status)
      import :: c_int, c_ptr
      type(c_ptr), value :: map
      integer(c_int) :: status
    end function
  end interface

  private :: sublet_last_error_c, sublet_status_text_c

contains

  ! A string as C wants it: without the blanks at its end, with a zero.
  pure function sublet_string(text) result(string)
    character(len=*), intent(in) :: text
    character(kind=c_char) :: string(len_trim(text) + 1)
    integer :: i
    do i = 1, len_trim(text)
      string(i) = text(i:i)
    end do
    string(len_trim(text) + 1) = c_null_char
  end function

  ! A text of a sublet_lease_info.
  pure function sublet_characters(letters) result(text)
    character(kind=c_char), intent(in) :: letters(:)
    character(len=:), allocatable :: text
    integer :: i
    text = ""
    do i = 1, size(letters)
      if (letters(i) == c_null_char) exit
      text = text // letters(i)
    end do
  end function

  ! A string that C has given, up to 4096 characters of it; empty for c_null_ptr.
  function sublet_text(string) result(text)
    type(c_ptr), intent(in) :: string
    character(len=:), allocatable :: text
    character(kind=c_char), pointer :: letters(:)
    integer :: i
    text = ""
    if (.not. c_associated(string)) return
    call c_f_pointer(string, letters, [4096])
    do i = 1, 4096
      if (letters(i) == c_null_char) exit
      text = text // letters(i)
    end do
  end function

  ! About the last error of this thread; says what to do where something can be done.
  function sublet_last_error() result(text)
    character(len=:), allocatable :: text
    text = sublet_text(sublet_last_error_c())
  end function

  function sublet_status_text(status) result(text)
    integer(c_int), intent(in) :: status
    character(len=:), allocatable :: text
    text = sublet_text(sublet_status_text_c(status))
  end function
end module
