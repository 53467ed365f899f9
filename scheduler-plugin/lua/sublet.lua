-- What a job's owner said about Sublet, for a site's own job_submit.lua or cli_filter.lua. Call one function:
--
--   local sublet = dofile("/etc/slurm/sublet.lua")        -- once, at the top of the site's script
--   function slurm_job_submit(job_desc, part_list, submit_uid)
--     local word, why = sublet(job_desc)
--     if why then slurm.log_user("%s", why) return slurm.ERROR end
--     ...the site's own rules, which may look at `word`: "share", "no" or nil (nothing was said)
--
-- sublet(job) reads the word that spank_sublet.so put into the job (--sublet=share|no) and returns it. From job_submit it
-- also writes `sublet=share` into the job's admin comment, so that `scontrol show job` tells what was chosen; the user's
-- own comment is never touched, and what is in the admin comment already stays. A word that is none (forged: the plugin
-- refuses them) returns nil and why. From slurm_cli_pre_submit, sublet(options, "cli_filter") only reads.
--
-- Neither the plugin nor the agent needs this. It runs under slurmctld's locks: no I/O, no loop but over the job's few
-- SPANK variables. Lua 5.1 to 5.4.

local option = "_SLURM_SPANK_OPTION_sublet_sublet="
local variable = "SUBLET_CONSENT="

local function after(text, prefix)
  if type(text) == "string" and text:sub(1, #prefix) == prefix then return text:sub(#prefix + 1) end
end

-- job_submit: a list of NAME=VALUE, from 0 or from 1; absent where no SPANK plugin spoke.
local function word_of_job(job)
  local list = job.spank_job_env
  if type(list) ~= "table" and type(list) ~= "userdata" then return nil end
  for i = 0, 63 do
    local entry = list[i]
    local word = after(entry, option) or after(entry, variable)
    if word then return word end
    if entry == nil and i > 0 then return nil end
  end
end

-- cli_filter: options.spank[plugin][option].
local function word_of_options(options)
  local spank = options.spank
  local plugin = (type(spank) == "table" or type(spank) == "userdata") and spank.sublet or nil
  return plugin and plugin.sublet or nil
end

local function note(job, word)
  local before = job.admin_comment or ""
  for held in before:gmatch("%S+") do
    if after(held, "sublet=") then return end
  end
  job.admin_comment = (before == "" and "" or before .. " ") .. "sublet=" .. word
end

return function(job, from)
  if from == "cli_filter" then return word_of_options(job) end
  local word = word_of_job(job)
  if word == nil then return nil end
  if word ~= "share" and word ~= "no" then
    return nil, ("--sublet=%s is not understood: say share or no"):format(word)
  end
  note(job, word)
  return word
end
