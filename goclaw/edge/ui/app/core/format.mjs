// Numbers and times as people read them (dashboard.md §5.4).
import { perLanguage } from './i18n.mjs'

const UNITS = [['year', 31_536_000], ['month', 2_592_000], ['day', 86_400], ['hour', 3600], ['minute', 60]]

const ages = perLanguage((code) => new Intl.RelativeTimeFormat(code, { numeric: 'auto', style: 'narrow' }))
const fullTimes = perLanguage((code) => new Intl.DateTimeFormat(code, { dateStyle: 'medium', timeStyle: 'medium' }))
const clocks = perLanguage((code) => new Intl.DateTimeFormat(code, { hour: '2-digit', minute: '2-digit' }))
const compacts = perLanguage((code) => new Intl.NumberFormat(code, { notation: 'compact', maximumFractionDigits: 1 }))

const sizes = perLanguage((code) => new Intl.NumberFormat(code, { style: 'unit', unit: 'byte', notation: 'compact', unitDisplay: 'narrow', maximumFractionDigits: 1 }))

// "5 minutes ago" for a time in ms or as ISO text.
export function ago(when, now = Date.now()) {
  const seconds = (now - new Date(when).getTime()) / 1000
  const unit = UNITS.find(([, size]) => Math.abs(seconds) >= size)
  return unit ? ages().format(-Math.floor(seconds / unit[1]), unit[0]) : ages().format(0, 'second')
}

export const fullTime = (when) => fullTimes().format(new Date(when))
export const clock = (when) => clocks().format(new Date(when))

// 840 ms · 1.2 s · 3m 20s · 4h 05m · 12d 3h
export function duration(ms) {
  if (ms < 1000) return `${Math.round(ms)} ms`
  if (ms < 60_000) return `${(ms / 1000).toFixed(ms < 10_000 ? 1 : 0)} s`
  const minutes = Math.floor(ms / 60_000)
  if (minutes < 60) return `${minutes}m ${pad(Math.floor(ms / 1000) % 60)}s`
  const hours = Math.floor(minutes / 60)
  return hours < 24 ? `${hours}h ${pad(minutes % 60)}m` : `${Math.floor(hours / 24)}d ${hours % 24}h`
}

const pad = (n) => String(n).padStart(2, '0')

export const compact = (n) => compacts().format(n)
export const bytes = (n) => sizes().format(n)
