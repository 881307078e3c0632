// The emergency stop as it stands (security.md §13), for those who may know.
import { effect, signal } from '@preact/signals'
import { gateway, may } from '../core/gateway.mjs'

export const stopped = signal(null) // {all, network, tools, domains, by, at, reason}

export const engaged = ({ all, network, tools, domains }) => all || network || tools.length > 0 || domains.length > 0

const read = () => gateway.call('estop.status', {}).then((answer) => (stopped.value = answer), () => null)

effect(() => {
  if (gateway.state.value === 'live' && may('operator')) read()
  else if (!gateway.hello.value) stopped.value = null
})
gateway.on('estop.engaged', read)
gateway.on('estop.released', read)

// Rejects with Refusal. In force when it is answered.
export async function set(engage, levels, reason) {
  stopped.value = await gateway.call('estop.set', { engage, levels, reason })
}
