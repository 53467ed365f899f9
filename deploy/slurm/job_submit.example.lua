-- A site's own job_submit.lua with one call of ours. `slurm` and the three functions are Slurm's; see
-- https://slurm.schedmd.com/job_submit_plugins.html. sublet.lua lies beside slurm.conf here.
local sublet = dofile("/etc/slurm/sublet.lua")

function slurm_job_submit(job_desc, part_list, submit_uid)
  local word, why = sublet(job_desc)
  if why then
    slurm.log_user("%s", why)
    return slurm.ERROR
  end
  -- A rule of the site: on the partition `private` nobody shares, whatever he says.
  if job_desc.partition == "private" and word == "share" then
    slurm.log_user("jobs of partition private are not shared: leave --sublet=share out")
    return slurm.ERROR
  end
  return slurm.SUCCESS
end

function slurm_job_modify(job_desc, job_rec, part_list, modify_uid)
  return slurm.SUCCESS
end

return slurm.SUCCESS
