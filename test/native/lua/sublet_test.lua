-- sublet.lua on tables as Slurm's job_submit and cli_filter give them. Run: lua5.1 sublet_test.lua PATH/sublet.lua
local sublet = dofile(arg[1])

local function job(fields, list)
  fields.spank_job_env = list
  return fields
end
local function expect(found, wanted, what)
  if found ~= wanted then error(("%s: %s, not %s"):format(what, tostring(found), tostring(wanted)), 2) end
end

local option = "_SLURM_SPANK_OPTION_sublet_sublet="
-- Slurm counts from 0; other versions may from 1.
for _, list in ipairs({
  { [0] = option .. "share", [1] = "SUBLET_CONSENT=share" },
  { [0] = "_SLURM_SPANK_OPTION_other_sublet=no", [1] = "OTHER=x", [2] = "SUBLET_CONSENT=share" },
  { [1] = option .. "share" },
}) do
  local one = job({ comment = "mine" }, list)
  expect(sublet(one), "share", "word")
  expect(one.admin_comment, "sublet=share", "admin comment")
  expect(one.comment, "mine", "the user's comment")
end

local held = job({ admin_comment = "ticket 7" }, { [0] = option .. "no" })
expect(sublet(held), "no", "word")
expect(held.admin_comment, "ticket 7 sublet=no", "admin comment")
expect(sublet(held), "no", "a second time")
expect(held.admin_comment, "ticket 7 sublet=no", "admin comment, a second time")

for _, list in ipairs({ {}, { [0] = "A=b" } }) do
  local silent = job({}, list)
  expect(sublet(silent), nil, "nothing said")
  expect(silent.admin_comment, nil, "nothing said")
end
expect(sublet({}), nil, "no plugin")

local forged = job({}, { [0] = "SUBLET_CONSENT=maybe" })
local word, why = sublet(forged)
expect(word, nil, "forged")
expect(why, "--sublet=maybe is not understood: say share or no", "forged")
expect(forged.admin_comment, nil, "forged")

expect(sublet({ spank = { sublet = { sublet = "share" } }, comment = "mine" }, "cli_filter"), "share", "cli_filter")
expect(sublet({ spank = {} }, "cli_filter"), nil, "cli_filter without it")

-- The example that a site starts from.
slurm = { SUCCESS = 0, ERROR = -1, said = {} }
function slurm.log_user(...) slurm.said[#slurm.said + 1] = string.format(...) end
local dofile_ = dofile
function dofile(path)
  expect(path, "/etc/slurm/sublet.lua", "the example's path")
  return dofile_(arg[1])
end
dofile_(arg[2])
local shared = job({ partition = "main" }, { [0] = option .. "share" })
expect(slurm_job_submit(shared, {}, 0), slurm.SUCCESS, "submitted")
expect(shared.admin_comment, "sublet=share", "submitted")
expect(slurm_job_submit(job({ partition = "private" }, { [0] = option .. "share" }), {}, 0), slurm.ERROR, "private")
expect(slurm_job_submit(job({}, { [0] = option .. "x" }), {}, 0), slurm.ERROR, "a bad word")
expect(#slurm.said, 2, "what the user is told")
expect(slurm_job_modify({}, {}, {}, 0), slurm.SUCCESS, "modified")
print("ok")
