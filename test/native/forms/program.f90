! A Fortran program that uses libsublet without any lender: all runs here, with the same result. Usage: program LIBRARY
program forms_program
  use, intrinsic :: iso_c_binding
  use sublet
  implicit none
  integer, parameter :: items = 50
  type(c_ptr) :: session, library, dot, call_handle, node, region
  type(sublet_for_each_report), target :: report
  type(sublet_call_options), target :: options
  real(c_double), target :: in(6, items), out(items), one
  integer(c_size_t) :: bytes
  character(len=4096) :: path
  integer :: i

  call get_command_argument(1, path)
  if (c_sizeof(options) /= 32 .or. c_sizeof(report) /= 24) error stop "a type has another size than in C"
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
