// An amount of a purse as people read it: dollars, or tokens.
import { compact } from '../core/format.mjs'
import { perLanguage } from '../core/i18n.mjs'

const dollars = perLanguage((code) => new Intl.NumberFormat(code, { style: 'currency', currency: 'USD', maximumFractionDigits: 4 }))

export const amount = (value, unit) => (unit === 'usd' ? dollars().format(value) : compact(value))
