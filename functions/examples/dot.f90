! libdot.so: functions in Fortran. They need nothing of Sublet: bind(c) and the plain form.
module dot_functions
  use, intrinsic :: iso_c_binding
  implicit none
contains
  ! The scalar product of two vectors that follow each other in the arguments (real64); result: one real64.
  function dot(in, bytes, out) bind(c) result(written)
    type(c_ptr), value :: in, out
    integer(c_int32_t), value :: bytes
    integer(c_int32_t) :: written
    real(c_double), pointer :: vectors(:), product_of
    integer :: length
    length = bytes / 16
    call c_f_pointer(in, vectors, [2 * length])
    call c_f_pointer(out, product_of)
    product_of = dot_product(vectors(1:length), vectors(length + 1:2 * length))
    written = 8
  end function

  ! The sum of squares, by a work array on the heap and the array functions of the run-time library.
  function squares(in, bytes, out) bind(c) result(written)
    type(c_ptr), value :: in, out
    integer(c_int32_t), value :: bytes
    integer(c_int32_t) :: written
    real(c_double), pointer :: vector(:), total
    real(c_double), allocatable :: work(:)
    call c_f_pointer(in, vector, [bytes / 8])
    call c_f_pointer(out, total)
    allocate (work, source=vector**2)
    total = sum(work)
    written = 8
  end function
end module
