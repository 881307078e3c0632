// What waits for somebody's yes: one list for the page, the chat and the badge (tools.md §12.3, dashboard.md §6.2).
import { batch, effect, signal } from '@preact/signals'
import { gateway, may } from '../core/gateway.mjs'

const REMEMBERED = 50 // decisions seen by this tab

export const pending = signal([])
export const decided = signal([]) // newest first: {...the approval, decision, by, at}
export const off = signal('') // why nobody is asked here

async function read() {
  try {
    const answer = await gateway.call('exec.approval.list', {})
    batch(() => {
      pending.value = answer.pending
      off.value = ''
    })
  } catch (refusal) {
    if (refusal.details?.reason === 'connection_lost') return
    batch(() => {
      pending.value = []
      off.value = refusal.message
    })
  }
}

effect(() => {
  if (gateway.state.value === 'live' && may('operator')) read()
  else if (!gateway.hello.value) {
    pending.value = []
    decided.value = []
  }
})

gateway.on('exec.approval.requested', (one) => (pending.value = [...pending.value.filter(({ id }) => id !== one.id), one]))
gateway.on('exec.approval.resolved', ({ id, decision, by }) => {
  const one = pending.value.find((waiting) => waiting.id === id)
  batch(() => {
    pending.value = pending.value.filter((waiting) => waiting !== one)
    if (one) decided.value = [{ ...one, decision, by, at: Date.now() }, ...decided.value].slice(0, REMEMBERED)
  })
})
