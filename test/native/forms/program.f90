! A Fortran program that uses libsublet without any lender: all runs here, with the same result. Usage: program LIBRARY
program forms_program
  use, intrinsic :: iso_c_binding
  use sublet
  implicit none
  integer, parameter :: items = 50
  type(c_ptr) :: session, library, dot, call_handle, node, region, handle, calls(2), buffers(3)
  type(sublet_for_each_report), target :: report
  type(sublet_call_options), target :: options
  type(sublet_buffer_options), target :: buffer_options
  type(sublet_trace), target :: trace
  type(sublet_buffer), pointer :: buffer
  type(sublet_lease_info) :: lease_info
  type(sublet_region_piece) :: piece
  type(sublet_map_options) :: map_options
  type(sublet_map_info) :: map_info
  real(c_double), target :: in(6, items), out(items), one, two
  real(c_double), pointer :: numbers(:), found(:)
  integer(c_size_t) :: bytes, place, started
  character(len=4096) :: path
  integer :: i

  call get_command_argument(1, path)
  ! What forms_test.c asserts of the same in C.
  if (c_sizeof(options) /= 40 .or. c_sizeof(report) /= 24 .or. c_sizeof(trace) /= 96) error stop "size of call types"
  if (c_sizeof(lease_info) /= 304 .or. c_sizeof(piece) /= 24) error stop "size of lease and region types"
  if (c_sizeof(buffer_options) /= 48 .or. c_sizeof(map_options) /= 24 .or. c_sizeof(map_info) /= 80) &
    error stop "size of buffer and map types"
  do i = 1, items
    in(:, i) = [1, 2, 3, i, i, i]
  end do
  call must(sublet_open(c_null_ptr, session))
  call must(sublet_library_open(session, sublet_string(path), library))
  call must(sublet_function_find(library, sublet_string("dot"), dot))
  call must(sublet_invoke(session, dot, c_loc(in), 48_c_size_t, c_loc(one), 8_c_size_t, bytes, c_null_ptr))
  if (bytes /= 8 .or. one /= 6) error stop "wrong result of one call"
  call must(sublet_for_each(session, dot, c_loc(in), 48_c_size_t, c_loc(out), 8_c_size_t, &
                            int(items, c_size_t), c_loc(report)))
  do i = 1, items
    if (out(i) /= 6 * i) error stop "wrong result of an item"
  end do
  if (report%local + report%remote /= items) error stop "items are missing from the report"
  call must(sublet_submit(session, dot, c_loc(in), 48_c_size_t, c_loc(one), 8_c_size_t, c_loc(options), call_handle))
  call must(sublet_wait(call_handle, 10000_c_int64_t))
  call must(sublet_call_result(call_handle, bytes, node))
  if (sublet_text(node) /= "") error stop "it ran elsewhere"
  call sublet_call_free(call_handle)
  options%trace = c_loc(trace)
  call must(sublet_invoke(session, dot, c_loc(in), 48_c_size_t, c_loc(one), 8_c_size_t, bytes, c_loc(options)))
  if (iand(trace%flags, SUBLET_TRACE_HERE) == 0 .or. trace%total_ns <= 0) error stop "the trace is empty"
  options%trace = c_null_ptr
  call must(sublet_invoke_alloc(session, dot, c_loc(in(1, 2)), 48_c_size_t, 0_c_size_t, handle, bytes, c_null_ptr))
  call c_f_pointer(handle, found, [1])
  if (bytes /= 8 .or. found(1) /= 12) error stop "wrong result of the library's memory"
  call sublet_free(handle)
  call must(sublet_submit(session, dot, c_loc(in), 48_c_size_t, c_loc(one), 8_c_size_t, c_null_ptr, calls(1)))
  call must(sublet_submit(session, dot, c_loc(in(1, 3)), 48_c_size_t, c_loc(two), 8_c_size_t, c_null_ptr, calls(2)))
  call must(sublet_wait_any(calls, 2_c_size_t, 10000_c_int64_t, place))
  if (place > 1) error stop "which one has finished?"
  call must(sublet_wait_all(calls, 2_c_size_t, 10000_c_int64_t))
  if (one /= 6 .or. two /= 18) error stop "wrong results of two calls"
  call sublet_call_free(calls(1))
  call sublet_call_free(calls(2))

  buffer_options%in_bytes = 48
  buffer_options%out_bytes = 8
  do i = 1, 3
    call must(sublet_buffer_acquire(session, dot, c_loc(buffer_options), buffers(i)))
    call c_f_pointer(buffers(i), buffer)
    if (buffer%in_bytes < 48 .or. buffer%out_bytes < 8) error stop "no room in a buffer"
    call c_f_pointer(buffer%in, numbers, [6])
    numbers = in(:, i)
  end do
  call must(sublet_buffer_invoke(buffers(1), 48_c_size_t, bytes))
  call must(sublet_buffer_submit_many(buffers, [(48_c_size_t, i = 1, 3)], 3_c_size_t, started))
  if (started /= 3) error stop "not all buffers were submitted"
  call must(sublet_buffer_wait_any(buffers, 3_c_size_t, 10000_c_int64_t, place))
  call must(sublet_buffer_wait_all(buffers, 3_c_size_t, 10000_c_int64_t))
  do i = 1, 3
    call must(sublet_buffer_test(buffers(i), bytes))
    call c_f_pointer(buffers(i), buffer)
    call c_f_pointer(buffer%out, found, [1])
    if (bytes /= 8 .or. found(1) /= 6 * i) error stop "wrong result in a buffer"
    call sublet_buffer_release(buffers(i))
  end do
  if (sublet_characters(["a", "b", c_null_char, "c"]) /= "ab") error stop "text of characters"
  if (sublet_function_find(library, sublet_string("nothing"), dot) /= SUBLET_ERR_NOT_FOUND) error stop "found"
  if (index(sublet_last_error(), "nothing") == 0) error stop "the error does not name it"
  if (sublet_status_text(SUBLET_ERR_OVERRUN) /= "function wrote past its result buffer") error stop "status text"
  if (sublet_region_alloc(session, 4096_c_int64_t, c_null_ptr, region) == SUBLET_OK) error stop "memory from nobody"
  call sublet_close(session)
contains
  subroutine must(status)
    integer(c_int), intent(in) :: status
    if (status == SUBLET_OK) return
    print *, sublet_status_text(status), ": ", sublet_last_error()
    error stop 1
  end subroutine
end program
